"""The network of Azure ML's and PyTorch's tutorials."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cifar.errors import UserError, place


class Net(nn.Module):
    """The tutorial's small CNN: two convolutions, three linear layers; 62,006 parameters with 10 classes.

    Its submodules bear the tutorial's names, so that a `state_dict` of the tutorial's `Net` loads.
    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html

    Args:
        num_classes: the number of outputs, at least 1.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, num_classes)."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Try a network without a trace: statistics of normalisation layers and each module's mode stay as they are."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def black_images(net: nn.Module) -> Tensor:
    """Give images to try a network on, (2, 3, 32, 32) in its own precision; two, since some cannot take one alone."""
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.zeros(2, 3, 32, 32, dtype=parameter.dtype)


def check_net(net: nn.Module, classes: int, device: torch.device | str = "cpu") -> None:
    """Make sure that a network maps (N, 3, 32, 32) to (N, classes), by trying it on two black images.

    Raises:
        UserError: it fails on them, or gives another shape.
    """
    try:
        with evaluating(net), torch.no_grad():
            logits = net(black_images(net).to(device))
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{type(net).__name__} cannot take images of shape (N, 3, 32, 32): {first_line}{place(error)}; mend it, or "
            "name another network"
        ) from error
    if not isinstance(logits, Tensor):
        raise UserError(
            f"{type(net).__name__} gives {type(logits).__name__}, but a tensor of logits (N, {classes}) is needed"
        )
    shape = tuple(logits.shape)
    if shape != (2, classes):
        raise UserError(
            f"{type(net).__name__} maps 2 images to {shape}, but the data has {classes} classes, so (2, {classes}) "
            f"is needed; give the network a parameter num_classes, or {classes} outputs"
        )
