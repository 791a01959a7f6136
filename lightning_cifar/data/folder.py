"""Images of one's own: `train/<class>/*` and `test/<class>/*`."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_cifar.data import SPLITS, LabelledImages, Split
from lightning_cifar.data.cache import FORMAT, Cache
from lightning_cifar.data.decode import read_files
from lightning_cifar.errors import UserError
from lightning_cifar.files import is_hidden, user_cache_folder

CACHE_FOLDER = ".lightning-cifar-cache"


class _Listing(NamedTuple):
    """A split's files: paths and labels in order, a key that changes with any name, size or time; and what is none."""

    split: Split
    paths: list[str]
    labels: list[int]
    key: str
    passed_over: list[str]

    def decode(self) -> LabelledImages:
        return LabelledImages.from_numpy(read_files(self.paths, self.split), np.array(self.labels, np.int64))


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
        self._cache = Cache(places)
        self._listings: dict[Split, _Listing] = {}

    def class_names(self) -> list[str]:
        """Return the classes, the sub-folders of `train`, in alphabetical order.

        Raises:
            UserError: `train` or `test` is missing, there are fewer than two classes, or `test` has one more.
        """
        train, test = (self._class_folders(split) for split in SPLITS)
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
        for split in reversed(SPLITS):  # the training images last: the cache keeps them in memory
            listing = self._listings[split] = self._list(split)
            if listing.passed_over:
                more = f" and {len(listing.passed_over) - 1} more" if len(listing.passed_over) > 1 else ""
                warnings.warn(
                    f"passed over {listing.passed_over[0]}{more}: images belong directly into {split}/<class>/",
                    stacklevel=2,
                )
            self._cache.prepare(split, listing.key, listing.decode)

    def load(self, split: Split) -> LabelledImages:
        """Return what `prepare` decoded, or read the split from the cache; decode it where that has been lost.

        Raises:
            UserError: as `prepare`.
        """
        listing = self._listings.pop(split, None) or self._list(split)
        return self._cache.load(split, listing.key, listing.decode)

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
        return _Listing(split, paths, labels, digest.hexdigest(), passed_over)


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]


def _files(folder: Path) -> tuple[list[tuple[str, int, int]], list[str]]:
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
