"""A training process in a job: of the loopback Azure ML (`job`), or of a service that is a folder (`fake`).

The test's own process is the training process, and must never import azureml.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.azure import backends, delivery, process
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import Outbox
from lightning_cifar.azure.run import RunAddress
from scripts.emulator import Emulator
from tests.azure.fake_backend import FakeService
from tests.azure.recorded import outside as outside  # fixtures
from tests.azure.recorded import recorded as recorded

REPOSITORY = Path(__file__).parents[2]
FAKE = "tests.azure.fake_backend:FakeBackend"


def kill(relay: "subprocess.Popen[bytes]") -> None:
    """End a relay and its attempt, as the end of all power would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(relay.pid, signal.SIGKILL)
    relay.wait()
    if relay.stdin is not None:
        relay.stdin.close()


@pytest.fixture(autouse=True)
def start_relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start relays as the logger does; all of them end with the test, and nothing waits at the end of all tests."""
    start, started = process.start_relay, []

    def start_and_remember(
        record: Path, seconds: float = 600.0, variables: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        started.append(start(record, seconds, variables))
        return started[-1]

    monkeypatch.setattr(process, "start_relay", start_and_remember)
    monkeypatch.setattr(delivery, "atexit", Mock())
    yield start_and_remember
    for each in started:
        kill(each)


@pytest.fixture
def job(
    azure: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Emulator]:
    """The Azure ML of job run-1, whose training process this is; indirectly parametrized with "mlflow", of SDK v2."""
    for name in os.environ:  # of the developer's, a lower-case proxy would win over the job's
        if name.lower().endswith("_proxy") or name.startswith(("AZURE", "MLFLOW_")):
            monkeypatch.delenv(name)
    for name, value in azure.job_environment("run-1", mlflow=getattr(request, "param", "v1") == "mlflow").items():
        if name not in ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)  # other tests of this process may hold it
    yield azure
    new = [name for name in set(sys.modules) - before if name.startswith(("azureml.", "mlflow."))]
    assert not new, "the training process holds an SDK"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """The service of job run-1, whose training process this is; the relay is the quick one."""
    for name, value in {
        "AZUREML_RUN_ID": "run-1",
        "AZUREML_ARM_PROJECT_NAME": "cifar10",
        "FAKE_SERVICE": str(tmp_path / "service"),
        "TMPDIR": str(tmp_path / "shared"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    monkeypatch.setattr(backends, "DEFAULT", FAKE)
    monkeypatch.setitem(backends._BACKENDS, FAKE, FAKE)  # what a record may name
    monkeypatch.setattr(process, "RELAY", "tests.azure.quick_relay")
    monkeypatch.chdir(tmp_path)
    return FakeService(tmp_path / "service")


@pytest.fixture
def record(fake: FakeService, tmp_path: Path) -> Path:
    """A record of 100 points, of which nothing was sent."""
    return write_record(tmp_path / "record-metrics.jsonl")


def write_record(path: Path, points: int = 100, address: RunAddress | None = None, backend: str = FAKE) -> Path:
    """Write a record of `points` values of "loss": step / 7 at each step."""
    outbox = Outbox(path, address or RunAddress("run-1", "cifar10", "w", "g", "s"), backend)
    for step in range(points):
        outbox.append(entry_line({"metric": "loss", "value": step / 7, "step": step, "time": 0}))
    outbox.close()
    return path
