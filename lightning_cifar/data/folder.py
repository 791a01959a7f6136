"""Images of one's own: `train/<class>/*` and `test/<class>/*`."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from lightning_cifar.data import LabelledImages, Split, workers
from lightning_cifar.data.cache import FORMAT, Arrays, Cache, user_cache_folder
from lightning_cifar.data.console import console
from lightning_cifar.errors import UserError

NAMED = 10
"""Files that an error names, where it is about more."""

CACHE_FOLDER = ".lightning-cifar-cache"
_SPLITS: tuple[Split, ...] = ("train", "test")


class _Listing(NamedTuple):
    """A split's files: paths and labels in order, a key that changes with any name, size or time; and what is none."""

    paths: list[str]
    labels: list[int]
    key: str
    passed_over: list[str]


class FolderSource:
    """A folder of images, one sub-folder per class, decoded once and then read from a cache.

    The classes are the sub-folders of `train` in alphabetical order, at least two. Any format that Pillow
    reads will do; images of another size are squeezed to 32x32. Hidden files are passed over, and, with a warning,
    whatever does not lie directly in a class folder.

    Args:
        folder: what holds `train` and `test`.
        cache_dir: where the decoded images are kept. By default in the folder itself, and in the user's cache
            folder where that cannot be written to.
    """

    def __init__(self, folder: Path, cache_dir: Path | None = None) -> None:
        self.folder = Path(folder).expanduser()
        self.name = self.folder.resolve().name
        places = [cache_dir] if cache_dir else [self.folder / CACHE_FOLDER, user_cache_folder(self.folder)]
        self._caches = {split: Cache(f"{split}.npz", places) for split in _SPLITS}
        self._keys: dict[Split, str] = {}  # and not the listings: 60,000 paths are 10 MB
        self._decoded: dict[Split, Arrays] = {}

    def class_names(self) -> list[str]:
        """Name the classes, the sub-folders of `train`, in alphabetical order.

        Raises:
            UserError: `train` or `test` is missing, there are fewer than two classes, or `test` has one more.
        """
        train, test = (self._class_folders(split) for split in _SPLITS)
        if len(train) < 2:
            found = f"only one class, {train[0]}" if train else "no class folders"
            raise UserError(f"{self.folder / 'train'} holds {found}: put two or more folders of images there")
        if unknown := sorted(set(test) - set(train)):
            raise UserError(
                f"class folder {self.folder / 'test' / unknown[0]} has no counterpart in "
                f"{self.folder / 'train'}: add training images of that class, or remove the folder"
            )
        return train

    def prepare(self) -> None:
        """Decode what the cache does not hold.

        Raises:
            UserError: as `class_names`; a class without images; a file that is no image.
        """
        classes = self.class_names()
        if missing := sorted(set(classes) - set(self._class_folders("test"))):
            warnings.warn(f"no test images of class {', '.join(missing)} in {self.folder / 'test'}", stacklevel=2)
        for split in _SPLITS:
            listing = self._list(split)
            self._keys[split] = listing.key
            if listing.passed_over:
                more = f" and {len(listing.passed_over) - 1} more" if len(listing.passed_over) > 1 else ""
                warnings.warn(
                    f"passed over {listing.passed_over[0]}{more}: images belong directly into {split}/<class>/",
                    stacklevel=2,
                )
            if not self._caches[split].has(listing.key):
                self._decode_and_cache(split, listing)

    def load(self, split: Split) -> LabelledImages:
        """Read one split from the cache, or decode it where no cache could be written.

        Raises:
            UserError: as `prepare`.
        """
        if split in self._decoded:
            return self._decoded[split].to_torch()
        if split in self._keys and (arrays := self._caches[split].read(self._keys[split])):
            return arrays.to_torch()
        listing = self._list(split)
        return (self._caches[split].read(listing.key) or self._decode_and_cache(split, listing)).to_torch()

    def _class_folders(self, split: Split) -> list[str]:
        return sorted(entry.name for entry in self._entries(split) if entry.is_dir())

    def _entries(self, split: Split) -> list["os.DirEntry[str]"]:
        folder = self.folder / split
        try:
            return _visible(folder)
        except OSError as error:
            raise UserError(
                f"cannot read {folder} ({error.strerror}): a data folder holds images as train/<class>/* and "
                "test/<class>/*"
            ) from error

    def _list(self, split: Split) -> _Listing:
        paths: list[str] = []
        labels: list[int] = []
        passed_over = [entry.path for entry in self._entries(split) if not entry.is_dir()]
        digest = hashlib.sha256(f"folder {FORMAT} {split}".encode())
        present = set(self._class_folders(split))
        for label, name in enumerate(self.class_names()):
            digest.update(os.fsencode(f"\0{name}/"))
            files, folders = _files(self.folder / split / name) if name in present else ([], [])
            passed_over += folders
            if split == "train" and not files:
                raise UserError(f"{self.folder / split / name} holds no images: add some, or remove the folder")
            prefix = len(os.fspath(self.folder / split / name))
            for path, size, modified in files:
                digest.update(os.fsencode(f"\0{path[prefix:]}\0{size}\0{modified}"))
                paths.append(path)
                labels.append(label)
        if not paths:
            raise UserError(f"{self.folder / split} holds no images: put some into {split}/<class>/")
        return _Listing(paths, labels, digest.hexdigest(), passed_over)

    def _decode_and_cache(self, split: Split, listing: _Listing) -> Arrays:
        arrays = Arrays(read_files(listing.paths, split), np.array(listing.labels, np.int64))
        if not self._caches[split].write(listing.key, arrays):
            self._decoded[split] = arrays
        return arrays


def is_hidden(name: str) -> bool:
    """Tell whether a file is none of the user's images by its name: hidden, or left behind by Windows."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini")


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]


def _files(folder: Path) -> tuple[Sequence[tuple[str, int, int]], list[str]]:
    """Path, size in bytes and time of change in ns of each file, in order of names; and the folders among them."""
    files, folders = [], []
    try:
        for entry in _visible(folder):
            if entry.is_dir():
                folders.append(entry.path)
            else:
                status = entry.stat()
                files.append((entry.path, status.st_size, status.st_mtime_ns))
    except OSError as error:  # a link to nowhere, or no right to read
        raise UserError(f"cannot read {error.filename} ({error.strerror}): remove it, or change its rights") from error
    return sorted(files), folders


def read_files(paths: Sequence[str], what: str) -> NDArray[np.uint8]:
    """Decode image files, with a progress bar, and a warning where some had to be resized.

    Args:
        paths: the files, in the order of the result.
        what: what they are called on the progress bar: `train`, say.

    Returns:
        uint8 (N, 32, 32, 3).

    Raises:
        UserError: some are no images that Pillow can read.
    """
    with Progress(console=console) as progress:
        task = progress.add_task(f"Decoding images ({what})", total=len(paths))
        images, (other_sizes, unreadable) = workers.read_all(paths, lambda count: progress.advance(task, count))
    if unreadable:
        (first, reason), *others = unreadable
        says = f"{first} is not an image that can be read ({reason})"
        if not others:
            raise UserError(f"{says}: remove or replace it")
        names = ", ".join([path for path, _ in others][: NAMED - 1])
        more = ", …" if len(unreadable) > NAMED else ""
        raise UserError(f"{says}, nor are {len(others)} more: remove or replace them ({names}{more})")
    if other_sizes:
        sizes = ", ".join(f"{count} of {size}" for size, count in other_sizes.most_common(3))
        more = ", …" if len(other_sizes) > 3 else ""
        warnings.warn(
            f"{other_sizes.total()} of {len(paths)} {what} images were resized to 32x32 ({sizes}{more})", stacklevel=2
        )
    return images
