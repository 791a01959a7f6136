"""Where images come from: each source returns uint8 images, labels and class names."""

from typing import Literal, NamedTuple, Protocol

from torch import Tensor

Split = Literal["train", "test"]


class LabelledImages(NamedTuple):
    """Images in memory and what they show.

    Attributes:
        images: uint8, (N, 3, 32, 32), 0 to 255.
        labels: int64, (N,), each an index into the source's class names.
    """

    images: Tensor
    labels: Tensor


class Source(Protocol):
    """What the data module asks of a place that images come from."""

    name: str
    """What run folders and figures are called after: `cifar10`, `synthetic` or the folder's name."""

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
