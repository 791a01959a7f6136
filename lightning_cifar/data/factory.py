"""From what a user writes after `--data.source` to the source that is meant."""

from collections.abc import Sequence
from pathlib import Path

from lightning_cifar.data import Source
from lightning_cifar.data.folder import FolderSource
from lightning_cifar.data.synthetic import SyntheticSource
from lightning_cifar.errors import UserError


def make_source(
    source: str, data_dir: Path, mirrors: Sequence[str] | None = None, allow_unverified: bool = False
) -> Source:
    """Make the source of images that a name or folder stands for.

    Args:
        source: `cifar10`, `synthetic`, or a folder: of images in `train/<class>/*` and `test/<class>/*`, or
            with the official archive of CIFAR-10 or the batches unpacked from it. A folder of either name is
            written `./cifar10`.
        data_dir: where CIFAR-10 is kept, and the cache of the synthetic images.
        mirrors: addresses of the official archive; None means the known ones.
        allow_unverified: whether batches of CIFAR-10 may be other than the published ones.

    Raises:
        UserError: there is no such folder.
    """
    if source == "synthetic":
        return SyntheticSource(cache_dir=data_dir)
    if source == "cifar10":
        from lightning_cifar.data.cifar10 import DEFAULT_MIRRORS, Cifar10Source

        return Cifar10Source(data_dir, DEFAULT_MIRRORS if mirrors is None else mirrors, allow_unverified)
    folder = Path(source).expanduser()
    if not source or not folder.is_dir():
        raise UserError(f"no folder {source!r}: --data.source takes cifar10, synthetic, or a folder of images")
    if any((folder / split).is_dir() for split in ("train", "test")):
        return FolderSource(folder)

    from lightning_cifar.data.cifar10 import Cifar10Source

    for data in (folder, folder.resolve().parent):  # the folder itself may be the unpacked one
        official = Cifar10Source(data, mirrors=(), allow_unverified=allow_unverified)
        if official.is_present() and (data == folder or folder.resolve().name == official.archive.folder):
            return official
    return FolderSource(folder)
