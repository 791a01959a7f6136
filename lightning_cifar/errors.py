"""Errors for people: one line that names the cause and the remedy, and the traceback on request."""

import os
import re
import sys
import sysconfig
import textwrap
import traceback
from pathlib import Path

DEBUG = "LIGHTNING_CIFAR_DEBUG"
"""Environment variable: where it is 1, the traceback is printed before the one line of an error."""

TYPES_TRIED = re.compile(
    r"Does not validate against|Subtypes: |Errors:|Expected a (<class 'NoneType'>|path but)|Not a valid subclass|"
    r"Subclass types expect|a (class path|dict with)|Given value( type: |: (NestedArg\(|Namespace\(|\[|\{))"
)
"""How lines of jsonargparse begin that are about the types it has tried, instead of flag, value and cause."""


class UserError(Exception):
    """Something a user can put right: one line that says what is wrong, with the value, and what to do next.

    The command lines print it without a traceback and exit with a code other than zero.
    """


def report(error: BaseException, message: str | None = None) -> int:
    """Print an error in one line on stderr, with `LIGHTNING_CIFAR_DEBUG=1` after its traceback; return exit code 1.

    `message` is the line where the error's own words are not for people.
    """
    sys.stdout.flush()
    if os.environ.get(DEBUG) == "1":
        traceback.print_exception(error)
    print(f"error: {' '.join((message or str(error)).split())}", file=sys.stderr, flush=True)
    return 1


def one_line(error: BaseException) -> str:
    """Return a library's message in one line, without bullets and without the types that jsonargparse has tried."""
    lines = (re.sub(r"^([-*] )+", "", line.strip()) for line in str(error).splitlines())
    kept = [line.rstrip(" ;.") for line in lines if line and not TYPES_TRIED.match(line)]
    line = re.sub(r'Parser key "([^"]+)"', r"--\1", "; ".join(kept).replace(":;", ":"), count=1)
    return textwrap.shorten(line, 500)  # PyTorch names every tensor in which a checkpoint differs


def place(error: BaseException | None) -> str:
    """Return the line of the user's own code that raised, as ` (mynet.py, line 37; …)`; else an empty string."""
    installed = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), str(Path(__file__).parent))
    found = ""
    while error is not None:
        for frame, line in traceback.walk_tb(error.__traceback__):
            file = Path(frame.f_code.co_filename)
            if file.is_file() and not any(file.is_relative_to(folder) for folder in installed):
                found = f" ({file.name}, line {line}; {DEBUG}=1 shows the traceback)"
        error = error.__cause__ or error.__context__
    return found


def raised_by_library(error: BaseException) -> bool:
    """Return whether Lightning's checks of its arguments raised, or PyTorch's of optimizers, weights and DDP."""
    *_, module = "", *(frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    checks = "pytorch_lightning", "lightning_fabric", "torch.optim", "torch.nn.modules.module", "torch.nn.parallel"
    return module.startswith(checks)
