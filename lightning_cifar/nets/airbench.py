"""The network of airbench: small, and quick to train."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Group(nn.Module):
    """Two 3x3 convolutions, each followed by BatchNorm and GELU; the first one's output is halved in height and width.

    The filters of the first input channels begin as the identity. BatchNorm learns only its biases.

    Args:
        inputs: channels.
        outputs: channels, at least as many.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, eps=1e-12, momentum=0.4)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, eps=1e-12, momentum=0.4)
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            nn.init.dirac_(conv.weight[: conv.in_channels])
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class AirbenchNet(nn.Module):
    """The network of airbench94; 1,972,792 parameters with the default widths and 10 classes.

    Its first layer, `whiten`, is meant to whiten patches of 2x2 pixels: `callbacks.whitening.Whitening` sets its
    weights, which are not trained. Source: Jordan 2024, https://arxiv.org/abs/2404.00498.

    Args:
        num_classes: the number of outputs, at least 1.
        widths: channels of the three groups, the first at least 24.
    """

    def __init__(self, num_classes: int = 10, widths: Sequence[int] = (64, 256, 256)) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        with torch.no_grad():
            self.whiten.bias.zero_()  # type: ignore[union-attr]  # it has one
        self.groups = nn.Sequential(*map(Group, (24, *widths), widths))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, num_classes)."""
        x = self.groups(F.gelu(self.whiten(x)))
        return self.head(F.max_pool2d(x, 3).flatten(1)) / 9
