"""Where images come from: each source returns uint8 images, labels and class names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from lightning_cifar.data.progress import say
from lightning_cifar.errors import UserError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

IMAGE_SIZE = 32
"""Height and width of all images, in pixels."""


class LabelledImages(NamedTuple):
    """Images in memory and their classes.

    Attributes:
        images: uint8, (N, 3, 32, 32), 0 to 255; channels_last in memory.
        labels: int64, (N,), each an index into the source's class names.
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def from_numpy(cls, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> "LabelledImages":
        """Wrap arrays without a copy: images (N, 32, 32, 3) and labels (N,)."""
        return cls(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels))


class Source(Protocol):
    """What the data module asks of a place that images come from."""

    @property
    def name(self) -> str:
        """What run folders and figures are called after: `cifar10`, `synthetic` or the folder's name."""

    def class_names(self) -> list[str]:
        """Return the classes in label order, without reading an image.

        Raises:
            UserError: the data is not there, or not what it should be.
        """

    def prepare(self) -> None:
        """Download, decode or draw what is missing on this machine; called by one process.

        Raises:
            UserError: the data cannot be had; the message names the remedies.
        """

    def load(self, split: Split) -> LabelledImages:
        """Read one split into memory; `prepare` has been called before.

        Raises:
            UserError: the data is not there, or not what it should be.
        """


def resolve_source(
    source: str,
    data_dir: Path = Path("data"),
    mirrors: Sequence[str] | None = None,
    fallback: Literal["synthetic"] | None = None,
) -> Source:
    """Return the source that `--data.source` names; with a fallback, that one where CIFAR-10 cannot be had.

    Args:
        source: `cifar10`, `synthetic`, or a folder: of images in `train/<class>/*` and `test/<class>/*`, or with the
            official archive of CIFAR-10 or the folder unpacked from it. A folder of either name is written `./cifar10`.
        data_dir: where CIFAR-10 is kept, and the cache of the synthetic images.
        mirrors: addresses of the official archive; None means the known ones.
        fallback: the source to take, after a warning in a box, where `prepare` of `cifar10` fails.

    Raises:
        UserError: there is no such folder.
    """
    from lightning_cifar.data.cifar10 import Cifar10Source
    from lightning_cifar.data.folder import FolderSource
    from lightning_cifar.data.synthetic import SyntheticSource

    if source == "synthetic":
        return SyntheticSource(data_dir)
    if source == "cifar10":
        cifar10 = Cifar10Source(data_dir, mirrors)
        try:
            if fallback is not None:
                cifar10.prepare()
        except UserError as error:
            rank_zero_only(say)(FALLBACK.format(reason=error))
            return SyntheticSource(data_dir)
        return cifar10
    folder = Path(source).expanduser()
    if not source or not folder.is_dir():
        raise UserError(f"no folder {source!r}: --data.source takes cifar10, synthetic, or a folder of images")
    official = Cifar10Source(folder, mirrors=())
    has_splits = any((folder / split).is_dir() for split in SPLITS)
    return official if official.is_present() and not has_splits else FolderSource(folder)


FALLBACK = """
########################################################################
#  CIFAR-10 CANNOT BE HAD: TRAINING ON SYNTHETIC IMAGES                #
#  This project draws them. Accuracies mean nothing for CIFAR-10.      #
########################################################################
{reason}
"""
