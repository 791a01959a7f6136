"""Networks for images (N, 3, 32, 32): plain modules with `num_classes`, which know nothing of training."""

from lightning_cifar.nets.airbench import AirbenchNet
from lightning_cifar.nets.net import Net
from lightning_cifar.nets.resnet18 import ResNet18

__all__ = ["AirbenchNet", "Net", "ResNet18"]
