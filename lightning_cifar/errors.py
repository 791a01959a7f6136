"""The one kind of error that a user is meant to read, and how others are made to read like it."""

import re
import sys


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


def raised_by_library(error: BaseException) -> bool:
    """Say whether an exception comes from Lightning's checks of its arguments, or PyTorch's of optimizers and ddp."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return module.split(".")[0] in ("pytorch_lightning", "lightning_fabric", "lightning") or any(
        package in module for package in ("torch.optim", "torch.nn.parallel")
    )
