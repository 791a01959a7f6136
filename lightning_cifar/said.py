"""What a user has said on the command line and in --config files: after parsing, it looks like any default."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from lightning_cifar.errors import UserError, one_line

SUBCOMMANDS = ("fit", "validate", "test", "predict")


class Said:
    """The words of a command line, and the files that it names with --config.

    Args:
        words: the command line, without the program.

    Raises:
        UserError: a file is missing, or none that holds settings.
    """

    def __init__(self, words: Sequence[str]) -> None:
        places = (i for i, word in enumerate(words) if word in SUBCOMMANDS and words[i - 1] != "--config")
        self.place_of_subcommand = next(places, -1)
        """The index of `fit` or another subcommand among the words; -1 where there is none."""
        self._words = words[self.place_of_subcommand + 1 :]
        self._files = [read_config(Path(file)) for file in self.on_command_line("config")]
        for file in _values("config", words[: self.place_of_subcommand + 1]):  # for all subcommands, in sections
            read_config(Path(file))

    def on_command_line(self, key: str) -> list[str]:
        """List what follows the subcommand for a setting, be it as `--key VALUE` or `--key=VALUE`."""
        return _values(key, self._words)

    def in_files(self, key: str) -> list[Any]:
        """List what the files give for a setting such as `model.net`."""
        return [value for content in self._files if (value := _look_up(content, key.split("."))) is not None]

    def classes(self, key: str) -> list[str]:
        """List the classes or functions named for a setting such as `optimizer`, with or without their package."""
        named = [*self.on_command_line(key), *self.on_command_line(f"{key}.class_path")]
        for value in self.in_files(key):
            name = value.get("class_path") if isinstance(value, dict) else value
            named += [name] if isinstance(name, str) else []
        return named


def _values(key: str, words: Sequence[str]) -> list[str]:
    following = [after for word, after in pairwise([*words, ""]) if word == f"--{key}"]
    return following + [word.partition("=")[2] for word in words if word.startswith(f"--{key}=")]


def _look_up(content: Any, path: Sequence[str]) -> Any:
    for part in path:
        content = content.get(part) if isinstance(content, dict) else None
    return content


def read_config(path: Path) -> dict[str, Any]:
    """Read a file given with --config: YAML with sections in it.

    Raises:
        UserError: it is missing, or something else.
    """
    remedy = "python -m lightning_cifar fit --print_config prints one to start from"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read --config {path} ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--config {path} is no text file; {remedy}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or one_line(str(error))
        raise UserError(f"--config {path} is no YAML ({where}{reason}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"--config {path} holds no sections such as trainer: or data:; {remedy}")
    return content
