"""Whether a user's own network fits the images and the classes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cifar.errors import UserError, place


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; afterwards each of its modules has the mode it had, and the same statistics.

    A frozen layer may well be in evaluation mode while the network trains.
    """
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def black_images(net: nn.Module) -> Tensor:
    """Return images to try a network on, zeros (2, 3, 32, 32) in its own precision; some cannot take one alone."""
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.zeros(2, 3, 32, 32, dtype=parameter.dtype)


def check_net(net: nn.Module, classes: int, device: torch.device | str = "cpu") -> None:
    """Try a network on two black images: it must map (N, 3, 32, 32) to (N, classes).

    Raises:
        UserError: it fails on them, or returns another shape.
    """
    try:
        with evaluating(net), torch.no_grad():
            output = net(black_images(net).to(device))
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{type(net).__name__} cannot take images of shape (N, 3, 32, 32): {first_line}{place(error)}; mend it, or "
            "name another network"
        ) from error
    shape = tuple(check_logits(net, output).shape)
    if shape != (2, classes):
        raise UserError(
            f"{type(net).__name__} maps 2 images to {shape}, but the data has {classes} classes, so (2, {classes}) "
            f"is needed; give the network a parameter num_classes, or {classes} outputs"
        )


def check_logits(net: nn.Module, output: Any) -> Tensor:
    """Return what a network returned, if it is a tensor.

    Raises:
        UserError: it is not; some networks of torchvision have further outputs in training alone.
    """
    if not isinstance(output, Tensor):
        raise UserError(
            f"{type(net).__name__} gives {type(output).__name__} in training instead of a tensor of logits (N, "
            "classes); turn its further outputs off, for GoogLeNet with --model.net.aux_logits false"
        )
    return output
