"""The command lines of `scripts`, run as processes that are forked from one which has imported the SDK already."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.deadline import deadline

_SERVER = """
import os, runpy, sys, traceback, json
import azureml.core, azureml.core.runconfig, azureml._vendor.azure_storage.blob
import matplotlib.figure, packaging.requirements, pathspec, requests, rich.progress, rich.table, yaml

def run(project, environment, module, arguments, output):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(project)
    sys.path.insert(0, project)
    sys.argv = [module, *arguments]
    for descriptor, name in ((0, os.devnull), (1, f"{output}/out"), (2, f"{output}/err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), descriptor)
    from scripts.azure import service_errors
    service_errors.PAUSES[:] = [0.01] * len(service_errors.PAUSES)
    try:
        runpy.run_module(f"scripts.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        return ending.code or 0
    except BaseException:
        traceback.print_exc()
        return 99
    return 0

for line in sys.stdin:
    child = os.fork()
    if not child:
        code = run(**json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

_IMPATIENT = {f"AZUREML_DEFAULT_{name}": "1" for name in ("BACKOFF", "500_BACKOFF", "503_BACKOFF", "RETRIES")}
"""The SDK, which reads this when it is imported, waits a second before it asks once more, and does so once."""


class Outcome(NamedTuple):
    """What a command line left: its exit code, its output, and the last line of it all."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """What a user reads last."""
        return (self.err.strip() or self.out.strip()).splitlines()[-1]


class CommandLines:
    """Runs `python -m scripts.MODULE …`: each call is a fresh process, and the SDK is imported once for all."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env={"HOME": self._home.name, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **_IMPATIENT},
            cwd=self._home.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, module: str, args: Sequence[str], project: Path, environment: dict[str, str]) -> Outcome:
        """Run one command line in a project to its end."""
        assert self._server.stdin
        assert self._server.stdout
        with tempfile.TemporaryDirectory() as output:
            request = {"project": str(project), "environment": environment, "module": module, "output": output}
            print(json.dumps(request | {"arguments": list(args)}), file=self._server.stdin, flush=True)
            ready, _, _ = select.select([self._server.stdout], [], [], deadline(30))
            assert ready, f"scripts.{module} {args} has not ended"
            code = int(self._server.stdout.readline())
            return Outcome(code, *(Path(output, name).read_text() for name in ("out", "err")))

    def close(self) -> None:
        """End the process that the others are forked from."""
        self._server.kill()
        self._server.communicate()
        self._home.cleanup()


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
