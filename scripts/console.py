"""Parse command lines, print errors in one line, and return exit codes, for all commands of this folder."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from lightning_cifar.errors import UserError, report

if TYPE_CHECKING:
    from rich.table import Table

INTERRUPTED = 130
"""Exit code of an interrupted command, and of a canceled job: 128 + SIGINT, as in a shell."""


class Parser(argparse.ArgumentParser):
    """argparse, which reports a bad flag in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has found as a UserError."""
        raise UserError(f"{message}; `python -m scripts.{self.prog.split()[0]} --help` lists what there is")


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command line and end the process with its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe as well: who waits sees what for
    sys.exit(exit_code(main, sys.argv[1:]))


def exit_code(main: Callable[[Sequence[str]], int], args: Sequence[str]) -> int:
    """Run a command line; return its exit code: 1 after a `UserError`, which becomes the last line on stderr."""
    try:
        return main(args)
    except UserError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return INTERRUPTED


def show(table: "Table") -> None:
    """Print a table, as wide as the terminal, or 200 columns into a pipe."""
    from rich.console import Console  # after Lightning, where that is used: rich.progress changes how it reads flags

    Console(width=None if Console().is_terminal else 200).print(table)


def positive(text: str) -> int:
    """Parse a count of at least one, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
