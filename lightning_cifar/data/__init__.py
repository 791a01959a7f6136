"""Where images come from: each source returns uint8 images, labels and class names.

Nothing heavy is imported here: the processes that decode images load this package without torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "test"]


class LabelledImages(NamedTuple):
    """Images in memory and what they show.

    Attributes:
        images: uint8, (N, 3, 32, 32), 0 to 255; channels_last in memory, so that neither
            `contiguous(memory_format=torch.channels_last)` nor picking images by index along N rearranges a
            byte.
        labels: int64, (N,), each an index into the source's class names.
    """

    images: "Tensor"
    labels: "Tensor"


class Source(Protocol):
    """What the data module asks of a place that images come from."""

    @property
    def name(self) -> str:
        """What run folders and figures are called after: `cifar10`, `synthetic` or the folder's name."""
        ...

    def class_names(self) -> list[str]:
        """Name the classes in label order, without reading an image.

        Raises:
            UserError: the data is not there, or not what it should be.
        """
        ...

    def prepare(self) -> None:
        """Download, decode or draw what is missing on this machine; called by one process.

        Raises:
            UserError: the data cannot be had; the message names the remedies.
        """
        ...

    def load(self, split: Split) -> LabelledImages:
        """Read one split into memory; `prepare` has been called before.

        Raises:
            UserError: the data is not there, or not what it should be.
        """
        ...


def resolve_source(
    source: str,
    data_dir: Path = Path("data"),
    mirrors: Sequence[str] | None = None,
    fallback: Literal["synthetic"] | None = None,
) -> Source:
    """Return the source that `--data.source` names, or the fallback where CIFAR-10 cannot be had.

    Raises:
        UserError: there is no such folder.
    """
    from lightning_cifar.data.fallback import choose_source

    return choose_source(source, data_dir, mirrors, fallback=fallback)
