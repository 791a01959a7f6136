"""The official archive of CIFAR-10: what it holds, and how it is unpacked."""

import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import CIFAR10

from lightning_cifar.errors import UserError


@dataclass(frozen=True)
class Archive:
    """What is published about an archive of images in batches.

    Attributes:
        file_name: the archive's name.
        size: its size in bytes.
        md5: its MD5 sum.
        folder: the folder it unpacks to.
        train: names and MD5 sums of the training batches, in order.
        test: the same for the test batches.
        meta: name and MD5 sum of the file that holds the class names under `label_names`.
    """

    file_name: str
    size: int
    md5: str
    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    meta: tuple[str, str]

    def missing_from(self, folder: Path) -> list[str]:
        """Name the batches that a folder lacks."""
        return [name for name in (*self.train, *self.test) if not (folder / name).is_file()]


OFFICIAL = Archive(
    file_name=CIFAR10.filename,
    size=170_498_071,  # the one figure that torchvision does not hold; as served by the official host
    md5=CIFAR10.tgz_md5,
    folder=CIFAR10.base_folder,
    train=dict(CIFAR10.train_list),
    test=dict(CIFAR10.test_list),
    meta=(CIFAR10.meta["filename"], CIFAR10.meta["md5"]),
)


def unpack(archive: Archive, path: Path, into: Path) -> Path:
    """Unpack the batches, all of them or none, and nothing else that the file may hold.

    Args:
        archive: what to look for.
        path: the archive's file.
        into: the folder that receives `archive.folder`; made where it is missing.

    Returns:
        The folder with the batches.

    Raises:
        UserError: the file is truncated, is no archive, or lacks batches.
        OSError: the folder cannot be written to, or the disk is full.
    """
    final = into / archive.folder
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".unfinished-") as temporary:
        try:
            with tarfile.open(path, "r:gz") as tar:
                tar.extractall(temporary, members=_batches(archive, tar), filter="data")
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path} is truncated or no archive ({error}): replace it with a whole one") from error
        folder = Path(temporary) / archive.folder
        if missing := archive.missing_from(folder):
            raise UserError(f"{path} lacks {archive.folder}/{missing[0]}: replace it with the official archive")
        try:
            folder.replace(final)
        except OSError:
            if archive.missing_from(final):  # otherwise another process was quicker
                raise
    return final


def _batches(archive: Archive, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    wanted = {f"{archive.folder}/{name}" for name in (*archive.train, *archive.test, archive.meta[0])}
    for member in tar:
        if member.isfile() and member.name.removeprefix("./") in wanted:
            yield member
