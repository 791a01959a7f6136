"""Processes with the unmodified SDK that do not import it: forked from one that has, they start in milliseconds."""

import multiprocessing
import os
import sys
import textwrap
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.deadline import deadline

# The SDK reads these when it is imported; its pauses after an error would be minutes.
_BACKOFFS = ("AZUREML_DEFAULT_BACKOFF", "AZUREML_DEFAULT_500_BACKOFF", "AZUREML_DEFAULT_503_BACKOFF")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["azureml.core", "azureml.core.model"])


def run_with_sdk(code: str, environment: dict[str, str], arguments: Sequence[str | Path], folder: Path) -> str:
    """Run Python code as a script with exactly the given environment, and with no pause before the SDK's retries.

    Return what it printed; fail if it failed or did not end. The folder (absolute) takes the files `out` and `err`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in _BACKOFFS:
            patch.setenv(name, "0")
        forkserver.ensure_running()
    process = _CONTEXT.Process(target=_main, args=(textwrap.dedent(code), environment, [*map(str, arguments)], folder))
    process.start()
    process.join(deadline(30))
    process.kill()
    process.join()
    out, err = ((folder / name).read_text() for name in ("out", "err"))
    assert process.exitcode == 0, out + err
    return out


def _main(code: str, environment: dict[str, str], arguments: list[str], folder: Path) -> None:
    """Become the script."""
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
