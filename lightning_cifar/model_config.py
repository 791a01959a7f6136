"""Fit the network's settings to the data, and compare them with a checkpoint's."""

import inspect
import pydoc
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from torch import nn

from lightning_cifar.errors import UserError


def check_net_of_checkpoint(config: Any, named: Any) -> None:
    """Check that a network named beside a checkpoint is the one in it, whose settings LightningCLI uses instead.

    Args:
        config: the settings of a subcommand, with the checkpoint's network where `ckpt_path` is given.
        named: `model.net` as the user wrote it, without defaults; None where no network was named.

    Raises:
        UserError: the checkpoint holds another network, or one with other settings; or no class is named.
    """
    if isinstance(named, nn.Module):  # jsonargparse imports whatever has the name
        raise UserError("--model.net names a network, not a class: name the class or the function that returns one")
    if named is None or config.ckpt_path is None:
        return
    asked = _settings_asked_for(named)
    net = config.model.net or Namespace(class_path="lightning_cifar.Net")
    settings = {"num_classes": len(config.model.class_names or ())} | (net.get("init_args") or Namespace()).as_dict()
    wanted, held = (
        f"{class_path}({', '.join(f'{name}={values.get(name)}' for name in asked)})"
        for class_path, values in ((named.class_path, asked), (net.class_path, settings))
    )
    if wanted != held:
        raise UserError(
            f"--model.net is {wanted}, but the checkpoint {config.ckpt_path} holds {held}; leave --model.net out, or "
            "train that network from its beginning"
        )


def fit_to_data(config: Any, named: Any, class_names: Sequence[str]) -> None:
    """Set `model.class_names` to those of the data, and the network's `num_classes` where it takes one.

    Raises:
        UserError: the user or the checkpoint wants other classes.
    """
    known = config.model.class_names if config.ckpt_path is not None else None  # else of the run that a file is of
    if known is not None and list(known) != list(class_names):
        raise UserError(
            f"the network knows the classes {', '.join(known)}, but the data has {', '.join(class_names)}; "
            "name the data it was trained on with --data.source"
        )
    config.model.class_names = list(class_names)
    settings = config.model.net.get("init_args") if config.model.net else None
    if settings and "num_classes" in settings:
        asked, classes = _settings_asked_for(named).get("num_classes"), len(class_names)
        if asked not in (None, classes):
            raise UserError(f"model.net.num_classes is {asked}, but the data has {classes} classes; leave it out")
        settings.num_classes = classes


def _settings_asked_for(named: Any) -> dict[str, Any]:
    """Return what the user wrote, but for a `num_classes` that is the network's default: `--print_config` writes it."""
    if not named or not named.get("init_args"):
        return {}
    build, parser = pydoc.locate(named.class_path), ArgumentParser()
    add = parser.add_class_arguments if inspect.isclass(build) else parser.add_function_arguments
    add(build, fail_untyped=False)  # type: ignore[arg-type]  # a class or a function: it was parsed before
    default = parser.get_defaults().get("num_classes")
    asked: dict[str, Any] = named.init_args.as_dict()
    return {name: value for name, value in asked.items() if (name, value) != ("num_classes", default)}
