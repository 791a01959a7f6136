"""The command lines of `scripts`, each run in a project as a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.deadline import deadline
from tests.sdk import Outcome, run_with_sdk

_QUICK = """
import runpy, sys
sys.path.insert(0, "")
from scripts.azure import service_errors
service_errors.PAUSES[:] = [0.01] * len(service_errors.PAUSES)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def with_sdk(args: Sequence[str], sdk: str) -> list[str]:
    """Return a command line with `--sdk` among the script's own flags, which end at the first `--`."""
    at = args.index("--") if "--" in args else len(args)
    return [*args[:at], "--sdk", sdk, *args[at:]]


def quick(module: str, args: Sequence[str], project: Path, environment: dict[str, str]) -> Outcome:
    """Run a command line in a process that has imported the SDK already, and that loses no time between questions."""
    return run_with_sdk(_QUICK, environment, [f"scripts.{module}", *args], project)


def call(module: str, args: Sequence[str], project: Path, environment: dict[str, str]) -> Outcome:
    """Run a command line as a user does, importing all that it needs."""
    command = [sys.executable, "-m", f"scripts.{module}", *args]
    done = subprocess.run(
        command,
        cwd=project,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline(60),
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
