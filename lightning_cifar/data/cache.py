"""Decoded or drawn images in a file of their own, so that the next run reads them in a moment."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_cifar.data import IMAGE_SIZE, LabelledImages, Split
from lightning_cifar.files import atomic_write


class Cache:
    """A file for each split, in the first of several folders that has it or takes it.

    The files are uncompressed `.npz`, whose checksums reveal a damaged one: that counts as absent. The training images
    that `prepare` made, and what it could not write, `load` returns without reading them back.

    Args:
        folders: where to look for `train.npz` and `test.npz` and where to put them, best first.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._made: dict[Split, LabelledImages] = {}

    def prepare(self, split: Split, key: str, make: Callable[[], LabelledImages]) -> None:
        """Make and write a split unless there is a file that was written under this key."""
        if split in self._made or any(_is_of(path, key) for path in self._paths(split)):
            return
        data = make()
        if not self._write(split, key, data) or split == "train":  # the few test images are read back when needed
            self._made[split] = data

    def load(self, split: Split, key: str, make: Callable[[], LabelledImages]) -> LabelledImages:
        """Return what `prepare` has made, else what the file holds; make it where that is absent or damaged."""
        data = self._made.pop(split, None) or self._read(split, key)
        if data is None:
            data = make()
            self._write(split, key, data)
        return data

    def _paths(self, split: Split) -> list[Path]:
        return [folder / f"{split}.npz" for folder in self._folders]

    def _read(self, split: Split, key: str) -> LabelledImages | None:
        for path in self._paths(split):
            if _is_of(path, key) and (arrays := _stored(path, "images", "labels")):
                images, labels = arrays
                shape = (labels.size, IMAGE_SIZE, IMAGE_SIZE, 3)
                if (images.dtype, images.shape, labels.dtype, labels.ndim) == (np.uint8, shape, np.int64, 1):
                    return LabelledImages.from_numpy(images, labels)
        return None

    def _write(self, split: Split, key: str, data: LabelledImages) -> bool:
        """Write a split whole or not at all; where no folder takes it, warn with the reason and return False."""
        reason = ""
        for path in self._paths(split):
            try:
                with atomic_write(path) as file:
                    images = data.images.permute(0, 2, 3, 1).numpy()
                    np.savez(file, key=np.array(key), images=images, labels=data.labels.numpy())
            except OSError as error:
                reason = f"{path.parent}: {error.strerror or error}"
            else:
                return True
        warnings.warn(f"going on without a cache, so the next run makes the images again ({reason})", stacklevel=2)
        return False


def _is_of(path: Path, key: str) -> bool:
    return [array.tolist() for array in _stored(path, "key")] == [key]


def _stored(path: Path, *names: str) -> list[NDArray[Any]]:
    """Return arrays of a file; none where it is absent, damaged, or not as `Cache` writes it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            # A compressed array may be a thousand times larger than its file.
            return [] if any(each.compress_type for each in file.zip.infolist()) else [file[name] for name in names]
    except Exception:  # zipfile and numpy raise whatever their parsers meet in a damaged file
        return []
