"""What the command lines of this folder share: brief complaints about flags, one-line errors, exit codes."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lightning_cifar.errors import UserError

INTERRUPTED = 130
"""Exit code of an interrupted command, and of a canceled job: 128 + SIGINT, as in a shell."""


class Parser(argparse.ArgumentParser):
    """argparse, which reports a bad flag in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Say what argparse has found.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; `python -m scripts.{self.prog.split()[0]} --help` lists what there is")


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command line and end the process with its exit code.

    A `UserError` becomes the last line on stderr and exit code 1.
    """
    sys.exit(exit_code(main, sys.argv[1:]))


def exit_code(main: Callable[[Sequence[str]], int], args: Sequence[str]) -> int:
    """Run a command line with `args`; return its exit code, having printed what a user needs to know."""
    try:
        return main(args)
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return INTERRUPTED


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def positive(text: str) -> int:
    """Read a count of at least one, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
