"""Decoded or drawn images in a file of their own, so that the next run reads them in a moment."""

import hashlib
import os
import tempfile
import time
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lightning_cifar.data import LabelledImages

FORMAT = "1"
_TEMPORARY = ".unfinished-"
_STALE_SECONDS = 3600.0


class Arrays(NamedTuple):
    """Images as they lie in memory and in the file.

    Attributes:
        images: uint8, (N, 32, 32, 3), 0 to 255.
        labels: int64, (N,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def to_torch(self) -> "LabelledImages":
        """The same memory as tensors; images as (N, 3, 32, 32), channels_last."""
        import torch

        from lightning_cifar.data import LabelledImages

        return LabelledImages(torch.from_numpy(self.images).permute(0, 3, 1, 2), torch.from_numpy(self.labels))


class Cache:
    """A file for one split, in the first of several folders that has it or takes it.

    The file is an uncompressed `.npz`, whose checksums reveal a damaged one: that counts as absent.

    Args:
        file_name: the file's name, without a folder.
        folders: where to look for it and where to put it, best first.
    """

    def __init__(self, file_name: str, folders: Sequence[Path]) -> None:
        self.paths = [folder / file_name for folder in folders]

    def has(self, key: str) -> bool:
        """Tell whether there is a file that was written under this key, without reading the images."""
        return any(_key_of(path) == key for path in self.paths)

    def read(self, key: str) -> Arrays | None:
        """Read what was written under this key; None where nothing was, or where the file is damaged."""
        for path in self.paths:
            if _key_of(path) != key:
                continue
            try:
                with np.load(path, allow_pickle=False) as file:
                    arrays = Arrays(file["images"], file["labels"])
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
            images, labels = arrays
            if images.dtype == np.uint8 and images.shape == (len(labels), 32, 32, 3) and labels.dtype == np.int64:
                return arrays
        return None

    def write(self, key: str, arrays: Arrays) -> bool:
        """Write the file whole or not at all; where no folder takes it, warn with the reason.

        Returns:
            Whether it was written.
        """
        reason = "no folder to put it into"
        for path in self.paths:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_stale(path.parent)
                _write(path, key, arrays)
            except OSError as error:
                reason = f"{path.parent}: {error.strerror or error}"
            else:
                return True
        warnings.warn(f"going on without a cache, so the next run decodes the images again ({reason})", stacklevel=2)
        return False


def user_cache_folder(data: Path) -> Path:
    """The folder in the user's cache that belongs to some data which cannot hold its own cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = data.expanduser().absolute()
    return base / "lightning-cifar" / f"{place.name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"


def _key_of(path: Path) -> str | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["key"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, key: str, arrays: Arrays) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_TEMPORARY, delete=False) as file:
        temporary = Path(file.name)
        try:
            np.savez(file, key=np.array(key), images=arrays.images, labels=arrays.labels)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)  # a temporary file is its owner's alone; the cache of shared data is not
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _remove_stale(folder: Path) -> None:
    """Clear away what a killed process left; a file that is being written now is younger than an hour."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        try:
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
        except OSError:  # another process was quicker, or the folder is read-only
            continue
