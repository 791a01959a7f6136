"""Images of one's own: `train/<class>/*` and `test/<class>/*`."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_cifar.data import SPLITS, LabelledImages, Split
from lightning_cifar.data.cache import Cache
from lightning_cifar.data.decode import read_files
from lightning_cifar.errors import UserError
from lightning_cifar.files import is_hidden, user_cache_folder

CACHE_FOLDER = ".lightning-cifar-cache"


class _Listing(NamedTuple):
    """A split's files: paths and labels in order, and a key that changes with any name, size or time."""

    split: Split
    paths: list[str]
    labels: list[int]
    key: str

    def decode(self) -> LabelledImages:
        return LabelledImages.from_numpy(read_files(self.paths, self.split), np.array(self.labels, np.int64))


class FolderSource:
    """A folder of images, one sub-folder per class, decoded once and then read from a cache.

    The classes are the sub-folders of `train` in alphabetical order, at least two. Any format that Pillow
    reads will do; images of another size are squeezed to 32x32. Hidden files are passed over, and so is whatever does
    not lie directly in a class folder.

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
        train, test = (_scan(self.folder / split)[1] for split in SPLITS)
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
        if missing := [name for name in classes if not (self.folder / "test" / name).is_dir()]:
            warnings.warn(f"no test images of class {', '.join(missing)} in {self.folder / 'test'}", stacklevel=2)
        for split in reversed(SPLITS):  # the training images last: the cache keeps them in memory
            listing = self._listings[split] = self._list(split)
            self._cache.prepare(split, listing.key, listing.decode)

    def load(self, split: Split) -> LabelledImages:
        """Return what `prepare` decoded, or read the split from the cache; decode it where that has been lost.

        Raises:
            UserError: as `prepare`.
        """
        listing = self._listings.pop(split, None) or self._list(split)
        return self._cache.load(split, listing.key, listing.decode)

    def _list(self, split: Split) -> _Listing:
        _, present = _scan(self.folder / split)
        paths: list[str] = []
        labels: list[int] = []
        digest = hashlib.sha256(f"folder 1 {split}".encode())
        for label, name in enumerate(self.class_names()):
            place = self.folder / split / name
            digest.update(os.fsencode(f"\0{name}/"))
            files, _ = _scan(place) if name in present else ({}, [])
            if split == "train" and not files:
                raise UserError(f"{place} holds no images: add some, or remove the folder")
            for file, stamp in files.items():
                digest.update(os.fsencode(f"\0/{file}\0{stamp}"))
                paths.append(f"{place}/{file}")
            labels += [label] * len(files)
        if not paths:
            raise UserError(f"{self.folder / split} holds no images: put some into {split}/<class>/")
        return _Listing(split, paths, labels, digest.hexdigest())


def _scan(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the files of a folder with their sizes (bytes) and times of change (ns), and its folders, in order."""
    files, folders = {}, []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                else:
                    status = entry.stat()
                    files[entry.name] = f"{status.st_size}\0{status.st_mtime_ns}"
    except OSError as error:  # missing, a link to nowhere, or no right to read
        raise UserError(
            f"cannot read {error.filename} ({error.strerror}): a data folder holds images as train/<class>/* and "
            "test/<class>/*"
        ) from error
    return files, folders
