"""Fit the network's settings to the data."""

import inspect
import pydoc
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from lightning_cifar.errors import UserError


def fit_to_data(config: Any, named: Any, class_names: Sequence[str]) -> None:
    """Set `model.class_names` to those of the data, and the network's `num_classes` where it takes one.

    Args:
        config: the settings of a subcommand.
        named: `model.net` as the user wrote it, without defaults; None where no network was named.
        class_names: the classes of the data, in label order.

    Raises:
        UserError: the user or the checkpoint wants other classes, or the user names no class.
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
        asked, classes = named and (named.get("init_args") or {}).get("num_classes"), len(class_names)
        if asked not in (None, classes) and asked != _default_classes(named.class_path):
            raise UserError(f"model.net.num_classes is {asked}, but the data has {classes} classes; leave it out")
        settings.num_classes = classes


def _default_classes(class_path: str) -> Any:
    """Return the default of a network's `num_classes`, which `--print_config` writes as if the user had."""
    build, parser = pydoc.locate(class_path), ArgumentParser()
    add = parser.add_class_arguments if inspect.isclass(build) else parser.add_function_arguments
    add(build, fail_untyped=False)  # type: ignore[arg-type]  # a class or a function: it was parsed before
    return parser.get_defaults().get("num_classes")
