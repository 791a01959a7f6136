"""The network that a command line names: fitted to the data, and compared with a checkpoint's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_cifar.errors import UserError
from lightning_cifar.sources.fallback import choose_source


class NetChoice:
    """What a user says of the network, before LightningCLI puts a checkpoint's in its place.

    Args:
        config: the settings of a subcommand as parsed, without a checkpoint's.
        words: the command line.

    Raises:
        UserError: it is a network instead of what makes one.
    """

    def __init__(self, config: Any, words: Sequence[str]) -> None:
        if isinstance(config.model.net, nn.Module):  # a name may stand for anything
            raise UserError(
                "--model.net names a network that is made already; name the class or function that makes it"
            )
        self._net = config.model.net and config.model.net.clone()
        files = [Path(str(file)) for file in config.get("config") or []]
        self._texts = [*words, *(file.read_text() for file in files)]

    def _mentions(self, flag: str) -> bool:
        """Say whether the user gave a flag: after parsing, a given value looks like a default."""
        return any(flag in text for text in self._texts)

    def check_against_checkpoint(self, config: Any) -> None:
        """Make sure that a network named beside a checkpoint is the one in it: LightningCLI would ignore it silently.

        Args:
            config: the settings with the checkpoint's network.

        Raises:
            UserError: it is another one.
        """
        given, held = self._net, config.model.net
        named = given and (given.class_path != "lightning_cifar.Net" or self._mentions("--model.net"))
        if named and self._described(given) != self._described(held):
            raise UserError(
                f"--model.net is {self._described(given)}, but the checkpoint {config.ckpt_path} holds "
                f"{self._described(held)}; leave --model.net out, or train that network from its beginning"
            )

    def _described(self, net: Any) -> str:
        settings = dict(net.get("init_args") or {})
        if not self._mentions("num_classes"):
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
        source = choose_source(data.source, data.data_dir, data.mirrors, data.allow_unverified, data.fallback)
        if data.fallback and source.name == data.fallback:
            data.source = data.fallback
        names, known = source.class_names(), config.model.class_names
        if known is not None and list(known) != names:
            raise UserError(
                f"the network knows the classes {', '.join(known)}, but the data has {', '.join(names)}; "
                "name the data it was trained on with --data.source"
            )
        config.model.class_names = names
        settings = config.model.net.get("init_args") if config.model.net else None
        if settings and "num_classes" in settings:
            given = self._net.init_args.get("num_classes")
            if given != len(names) and self._mentions("num_classes"):
                raise UserError(
                    f"model.net.num_classes is {given}, but the data has {len(names)} classes; leave it out"
                )
            settings.num_classes = len(names)
