"""The network that a command line names: fitted to the data, and compared with a checkpoint's."""

import inspect
import pydoc
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from lightning_cifar.data import resolve_source
from lightning_cifar.errors import UserError
from lightning_cifar.said import Said

NUM_CLASSES = ("model.net.num_classes", "model.net.init_args.num_classes")
"""How a user may write it."""


class NetChoice:
    """What a user says of the network, before LightningCLI puts a checkpoint's in its place.

    Args:
        config: the settings of a subcommand as parsed, without a checkpoint's.
        said: where they may come from, other than from the defaults.

    Raises:
        UserError: it is a network instead of what makes one.
    """

    def __init__(self, config: Any, said: Said) -> None:
        net = config.model.net
        if isinstance(net, nn.Module):  # a name may stand for anything
            raise UserError("--model.net names a network made already; name the class or function that makes it")
        self._net = net and net.clone()
        self._named = bool(said.classes("model.net"))
        self._loss_window = config.model.loss_window
        in_files = {value for key in NUM_CLASSES for value in said.in_files(key)}
        if in_files:  # a file that --print_config wrote gives every default: that says nothing
            in_files -= {default_num_classes(net)}
        self._counted = bool(in_files) or any(said.on_command_line(key) for key in NUM_CLASSES)

    def put_over_checkpoint(self, config: Any) -> None:
        """Make sure that a network named beside a checkpoint is the one in it: LightningCLI would ignore it silently.

        Args:
            config: the settings with the checkpoint's network; the window of `loss` is the user's again.

        Raises:
            UserError: it is another one.
        """
        given, held = self._net, config.model.net
        if given and (self._named or self._counted) and self._described(given) != self._described(held):
            raise UserError(
                f"--model.net is {self._described(given)}, but the checkpoint {config.ckpt_path} holds "
                f"{self._described(held)}; leave --model.net out, or train that network from its beginning"
            )
        if self._loss_window is not None:
            config.model.loss_window = self._loss_window

    def _described(self, net: Any) -> str:
        settings = dict(net.get("init_args") or {})
        if not self._counted:
            settings.pop("num_classes", None)
        return f"{net.class_path}({', '.join(f'{name}={value}' for name, value in settings.items())})"

    def fit_to_data(self, config: Any) -> None:
        """Fill in the classes that the data has, and the network's `num_classes` where it takes one.

        Args:
            config: the settings; here the fallback of a missing source is settled as well.

        Raises:
            UserError: network or checkpoint want other classes, or the data is not there.
        """
        data = config.data
        source = resolve_source(data.source, data.data_dir, data.mirrors, data.fallback)
        if data.fallback and source.name == data.fallback:
            data.source = data.fallback
        names = source.class_names()
        known = config.model.class_names if config.ckpt_path is not None else None  # else of the run that a file is of
        if known is not None and list(known) != names:
            raise UserError(
                f"the network knows the classes {', '.join(known)}, but the data has {', '.join(names)}; "
                "name the data it was trained on with --data.source"
            )
        config.model.class_names = names
        settings = config.model.net.get("init_args") if config.model.net else None
        if settings and "num_classes" in settings:
            given = self._net.init_args.get("num_classes")
            if given != len(names) and self._counted:
                raise UserError(
                    f"model.net.num_classes is {given}, but the data has {len(names)} classes; leave it out"
                )
            settings.num_classes = len(names)


def default_num_classes(net: Any) -> Any:
    """Say how many classes a network has where nobody says how many; None where it does not take their number.

    Args:
        net: its settings, with its `class_path`.
    """
    maker: Any = pydoc.locate(net.class_path) if net else None
    if maker is None:
        return None
    parser = ArgumentParser(exit_on_error=False)
    add = parser.add_class_arguments if inspect.isclass(maker) else parser.add_function_arguments
    add(maker, fail_untyped=False)
    return parser.get_defaults().get("num_classes")
