"""A real MLflow server for tests: one for all tests of a process, because it takes seconds to start."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from lightning_cifar.azure.run import RunAddress
from scripts.emulator import mlflow_server as real
from tests.deadline import deadline


class MlflowServer(real.MlflowServer):
    """The server, as MLflow's own client sees it."""

    @property
    def client(self) -> Any:
        """An `MlflowClient` of the server itself."""
        return mlflow.MlflowClient(self.direct)

    def start_run(self, experiment: str = "cifar10") -> RunAddress:
        """Start a run, and return its address behind the proxy."""
        client = self.client
        found = client.get_experiment_by_name(experiment)
        identity = client.create_experiment(experiment) if found is None else found.experiment_id
        return RunAddress(client.create_run(identity).info.run_id, experiment, "", "", "", tracking_uri=self.url)

    def points(self, run_id: str, *keys: str) -> list[tuple[str, int, float]]:
        """Return what the client reads back of some metrics, sorted."""
        history = [point for key in keys for point in self.client.get_metric_history(run_id, key)]
        return sorted((point.key, point.step, point.value) for point in history)


@pytest.fixture(scope="session")
def running_server() -> Iterator[MlflowServer]:
    folder = Path(tempfile.mkdtemp(prefix="mlflow-"))
    server = MlflowServer(folder, deadline(30))
    try:
        yield server.wait()
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mlflow_server(running_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """The server, behaving, with an environment that names none."""
    for name in [name for name in os.environ if name.startswith(("AZUREML_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    running_server.stored.clear()
    running_server.refuses = ""
    yield running_server
    running_server.behave()
