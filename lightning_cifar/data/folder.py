"""Images of one's own: `train/<class>/*` and `test/<class>/*`."""

import hashlib
import os
import stat
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torchvision.datasets.folder import make_dataset

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
    reads will do; images of another size are squeezed to 32x32. They may lie in folders within a class's. Hidden files
    and folders are passed over.

    Args:
        folder: what holds `train` and `test`.
        cache_dir: where the decoded images are kept: by default the folder, or if that is read-only, the user's cache.
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
        train, test = (_class_folders(self.folder / split) for split in SPLITS)
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
        root, classes = self.folder / split, self.class_names()
        labels = {name: label for label, name in enumerate(classes)}
        try:
            found = make_dataset(root, labels, is_valid_file=partial(_is_visible, root), allow_empty=split == "test")
            # by text, here and in _is_visible: Paths of 60,000 files would take 0.4 s of each start
            statuses = [os.stat(path) for path, _ in found]  # noqa: PTH116
        except OSError as error:  # a class without images, or a link to nowhere
            reason = f"cannot read {error.filename} ({error.strerror})" if error.filename else f"{root}: {error}"
            raise UserError(f"{reason.strip(' .')}; put images there, or remove what is in the way") from error
        if not found:
            raise UserError(f"{root} holds no images: put some into {split}/<class>/")
        for (path, _), status in zip(found, statuses, strict=True):
            if not stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits for its other end
                raise UserError(f"{path} is a pipe or a device, no image: remove it")
        stamps = [(status.st_size, status.st_mtime_ns) for status in statuses]
        key = hashlib.sha256(os.fsencode(repr((split, classes, found, stamps)))).hexdigest()
        return _Listing(split, [path for path, _ in found], [label for _, label in found], key)


def _class_folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name))
    except OSError as error:
        raise UserError(
            f"cannot read {folder} ({error.strerror}): a data folder holds images as train/<class>/* and test/<class>/*"
        ) from error


def _is_visible(root: Path, path: str) -> bool:
    return not any(map(is_hidden, path.removeprefix(str(root)).split(os.sep)))  # noqa: PTH206
