"""Fit the network's settings to the data."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from lightning_cifar.errors import UserError


def fit_to_data(config: Any, named: Any, class_names: Sequence[str]) -> None:
    """Set `model.class_names` to those of the data, and the network's `num_classes` where it takes one.

    Args:
        config: the settings of a subcommand.
        named: `model.net` as the user wrote it, without defaults; None where no network was named.
        class_names: the classes of the data, in label order.

    Raises:
        UserError: the checkpoint knows other classes, or the user names no class.
    """
    if isinstance(named, nn.Module):  # jsonargparse imports whatever has the name
        raise UserError("--model.net names a network, not a class: name the class or the function that returns one")
    known = config.model.class_names if config.ckpt_path is not None else None  # else of the run that a file is of
    if known is not None and list(known) != list(class_names):
        raise UserError(
            f"the network knows the classes {', '.join(known)}, but the data has {', '.join(class_names)}; "
            "name the data it was trained on with --data.source"
        )
    config.model.class_names = list(class_names)
    settings = config.model.net.get("init_args") if config.model.net else None
    if settings and "num_classes" in settings:
        settings.num_classes = len(class_names)
