"""Whether a user's own network fits the images and the classes."""

import textwrap
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cifar.errors import UserError, place


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
        output = try_net(net)
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


def load_weights(module: nn.Module, state: dict[str, Any]) -> None:
    """Load a checkpoint's weights.

    Raises:
        UserError: they are another network's; one line, where PyTorch lists every tensor.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        difference = textwrap.shorten(str(error).splitlines()[-1], 200)
        name = type(getattr(module, "net", module)).__name__
        raise UserError(
            f"the checkpoint holds another network than {name}: {difference}; name the one it was trained with"
        ) from error
