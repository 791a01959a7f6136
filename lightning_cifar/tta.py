"""Average what a network says to several views of an image: test-time augmentation."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

TTA = Literal["none", "mirror", "mirror_shift"]


def mean_logits(net: nn.Module, images: Tensor, tta: TTA) -> Tensor:
    """Return logits (N, classes), averaged over views of each image.

    Source: airbench94, https://arxiv.org/abs/2404.00498, section 3.

    Args:
        net: maps images to logits.
        images: floats (N, 3, height, width).
        tta: `none`: each image as it is; `mirror`: and mirrored; `mirror_shift`: half from these two, half from both
            views of the image shifted by one pixel up and left, and down and right.
    """
    if tta == "none":
        return net(images)

    def mirrored(view: Tensor) -> Tensor:
        return (net(view) + net(view.flip(-1))) / 2

    if tta == "mirror":
        return mirrored(images)
    height, width = images.shape[-2:]
    padded = F.pad(images, [1] * 4, mode="reflect")
    shifted = (mirrored(padded[..., :height, :width]) + mirrored(padded[..., 2:, 2:])) / 2
    return (mirrored(images) + shifted) / 2
