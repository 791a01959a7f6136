"""A training process in a job of the loopback Azure ML: the test's own, which must never import azureml."""

import atexit
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.deadline import Deadline
from lightning_cifar.azure.delivery import Delivery
from scripts.emulator import Emulator
from tests.azure.recorded import outside as outside  # fixtures
from tests.azure.recorded import recorded as recorded

REPOSITORY = Path(__file__).parents[2]


class Job:
    """This process as the training process of run `run_id`."""

    def __init__(self, azure: Emulator, run_id: str) -> None:
        self.azure, self.run_id = azure, run_id

    def logger(self, **arguments: Any) -> AzureMLLogger:
        """Make a logger of this process."""
        return AzureMLLogger(**arguments)

    def points(self) -> list[tuple[str, int | None, Any]]:
        """What has arrived, sorted."""
        return sorted((m.name, m.step, m.value) for m in self.azure.metrics(self.run_id))

    def spool(self, kind: str = "metrics") -> Path:
        """The one record of this kind."""
        (path,) = Path("outputs/azureml-metrics").glob(f"*-{kind}.jsonl")
        return path


@pytest.fixture(autouse=True)
def journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the forwarders of a test with it; no journal is left to be closed at the end of all tests."""
    journals: list[Delivery] = []
    begin = Delivery.__init__

    def remember(journal: Delivery, *args: Any) -> None:
        journals.append(journal)
        begin(journal, *args)

    monkeypatch.setattr(Delivery, "__init__", remember)
    monkeypatch.setattr("lightning_cifar.azure.delivery.DEADLINE", Deadline())
    yield
    for journal in journals:
        atexit.unregister(journal.at_exit)
        for spool in getattr(journal, "_spools", {}).values():
            if spool._process is not None and spool._process.poll() is None:
                os.killpg(spool._process.pid, signal.SIGKILL)
                spool._process.wait()


@pytest.fixture
def job(azure: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    for name in os.environ:  # of the developer's, a lower-case proxy would win over the job's
        if name.lower().endswith("_proxy") or name.startswith("AZURE"):
            monkeypatch.delenv(name)
    for name, value in azure.job_environment("run-1").items():
        if name not in ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)  # other tests of this process may hold it
    yield Job(azure, "run-1")
    new = [name for name in set(sys.modules) - before if name.startswith("azureml.")]
    assert not new, "the training process holds azureml"


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Write a script and return the command that runs it."""

    def write(text: str) -> list[str]:
        path = tmp_path / f"script_{len(list(tmp_path.glob('script_*')))}.py"
        path.write_text(text)
        return [sys.executable, str(path)]

    return write


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for a condition to hold, and return what it returned."""
    until = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.05)
    return result
