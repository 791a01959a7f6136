"""Whether a user's own network fits the images and the classes."""

from typing import Any

import torch
from torch import nn

from lightning_cifar.errors import UserError, one_line, place


def try_net(net: nn.Module) -> Any:
    """Return what a network returns in evaluation mode for two black images; it keeps its modes and statistics.

    Each module's mode: a frozen layer may well be in evaluation mode while the network trains.
    """
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    images = torch.zeros(2, 3, 32, 32, dtype=parameter.dtype, device=parameter.device)  # some cannot take one alone
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            return net(images)
    finally:
        for module, mode in modes.items():
            module.training = mode


def check_net(net: nn.Module, classes: int) -> None:
    """Try a network on two black images: it must map (N, 3, 32, 32) to (N, classes).

    Raises:
        UserError: it fails on them, or returns another shape.
    """
    try:
        shape = tuple(try_net(net).shape)
    except Exception as error:
        raise UserError(
            f"{type(net).__name__} cannot take images of shape (N, 3, 32, 32): {one_line(error)}{place(error)}; mend "
            "it, or name another network"
        ) from error
    if shape != (2, classes):
        raise UserError(
            f"{type(net).__name__} maps 2 images to {shape}, but the data has {classes} classes, so (2, {classes}) "
            f"is needed; give the network a parameter num_classes, or {classes} outputs"
        )
