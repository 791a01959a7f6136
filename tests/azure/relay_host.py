"""Starts relays quickly: a process imports an SDK once, and forks a relay for each record."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lightning_cifar.azure.process import child_environment
from tests.azure.conftest import REPOSITORY, kill

# A line of JSON is a record, constants of the modules below lightning_cifar.azure, and the relay's environment.
_HOST = """
import importlib, json, os, sys, tempfile
from lightning_cifar.azure import backends, relay
backends.load(sys.argv[1])
for line in sys.stdin:
    record, constants, environment = json.loads(line)
    host = os.getpid()
    if os.fork() == 0:
        os.environ.update(environment)
        tempfile.tempdir = environment["TMPDIR"]
        for name, value in constants.items():
            module, _, name = name.rpartition(".")
            setattr(importlib.import_module(f"lightning_cifar.azure.{module or 'relay'}"), name, value)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nothing more will be logged
        os._exit(relay.Relay(relay.Path(record), host, 600.0).run())
"""


class Start(Protocol):
    """Starts a relay for a record, with constants of the relay's (`"attempt.GATHER_SECONDS"`, say) changed."""

    def __call__(self, record: Path, environment: dict[str, str], /, **constants: Any) -> None: ...


@contextmanager
def relay_host(backend: str) -> Iterator[Start]:
    """Yield what starts relays of one process that has imported a backend; they end with the block."""
    bare = {name: value for name, value in child_environment().items() if not name.startswith("AZUREML_RUN")}
    process = subprocess.Popen(
        [sys.executable, "-c", _HOST, backend],
        env=bare | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None

    def start(record: Path, environment: dict[str, str], /, **constants: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps([str(record), constants, environment]) + "\n")
        process.stdin.flush()

    yield start
    process.stdin.close()
    kill(process)  # type: ignore[arg-type]
