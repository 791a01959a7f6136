"""Processes with the unmodified SDK that do not import it: forked from one that has, they start in milliseconds."""

import multiprocessing
import os
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deadline import deadline

# The SDK reads these when it is imported: it asks once more, and at once; its own pauses would be minutes.
_IMPATIENT = {f"AZUREML_DEFAULT_{name}": "0" for name in ("BACKOFF", "500_BACKOFF", "503_BACKOFF")}
_IMPATIENT["AZUREML_DEFAULT_RETRIES"] = "1"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["azureml.core", "azureml.core.model", "azureml._vendor.azure_storage.blob", "matplotlib.figure", "pathspec"]
)


class Outcome(NamedTuple):
    """What a process left: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """What a user reads last."""
        return (self.err.strip() or self.out.strip()).splitlines()[-1]


def run_with_sdk(code: str, environment: dict[str, str], arguments: Sequence[str | Path], folder: Path) -> Outcome:
    """Run Python code as a script in a folder, with exactly the given environment; kill it if it does not end."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _IMPATIENT.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory() as output:
        files = [Path(output, name) for name in ("out", "err")]
        script = (textwrap.dedent(code), environment, [*map(str, arguments)], folder, files)
        process = _CONTEXT.Process(target=_main, args=script)
        process.start()
        process.join(deadline(30))
        process.kill()
        process.join()
        return Outcome(process.exitcode, *(file.read_text() for file in files))


def _main(code: str, environment: dict[str, str], arguments: list[str], folder: Path, output: list[Path]) -> None:
    """Become the script."""
    for descriptor, file in enumerate(output, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
