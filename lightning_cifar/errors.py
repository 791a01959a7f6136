"""The one kind of error that a user is meant to read, and how others are made to read like it."""

import re
import sys
import sysconfig
import traceback
from pathlib import Path


class UserError(Exception):
    """Something a user can put right: one line that says what is wrong, with the value, and what to do next.

    The command lines print it without a traceback and exit with a code other than zero.
    """


def complain(message: str) -> int:
    """Print an error for people; give the exit code that goes with it."""
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 1


def one_line(message: str) -> str:
    """Fold what a library says over several lines into one, without bullets and markup."""
    lines = (re.sub(r"^[-*] ", "", line.strip()) for line in message.splitlines())
    return "; ".join(line.rstrip(" ;.") for line in lines if line)


def place(error: BaseException | None) -> str:
    """Name the line of a user's own code at which an error came up, as ` (mynet.py, line 37)`; else nothing."""
    installed = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), str(Path(__file__).parent))
    found = ""
    while error is not None:
        for frame, line in traceback.walk_tb(error.__traceback__):
            file = Path(frame.f_code.co_filename)
            if file.is_file() and not any(file.is_relative_to(folder) for folder in installed):
                found = f" ({file.name}, line {line})"
        error = error.__cause__ or error.__context__
    return found


def raised_by_library(error: BaseException) -> bool:
    """Say whether an exception comes from Lightning's checks of its arguments, or PyTorch's of optimizers and ddp."""
    *_, module = "", *(frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return module.split(".")[0] in ("pytorch_lightning", "lightning_fabric", "lightning") or any(
        package in module for package in ("torch.optim", "torch.nn.parallel")
    )
