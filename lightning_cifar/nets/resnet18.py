"""ResNet-18 for small images."""

from torch import Tensor, nn
from torch.nn import functional as F


def _norm_conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two convolutions beside a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        inputs: channels.
        outputs: channels.
        stride: of the first convolution; 2 halves height and width.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _norm_conv(inputs, outputs, 3, stride)
        self.second = _norm_conv(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _norm_conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet18(nn.Sequential):
    """ResNet-18 with a 3x3 stem and no max-pooling, as for CIFAR; 11,173,962 parameters with 10 classes.

    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, with the stem of its section 4.2.

    Args:
        num_classes: the number of outputs, at least 1.
        width: channels of the first of four stages, each of which doubles them.
    """

    def __init__(self, num_classes: int = 10, width: int = 64) -> None:
        layers: list[nn.Module] = [_norm_conv(3, width, 3), nn.ReLU()]
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
            inputs = outputs
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
