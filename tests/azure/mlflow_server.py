"""A real `mlflow server`, with a database of its own, behind a proxy that misbehaves as the emulator does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lightning_cifar.azure.run import RunAddress
from scripts.emulator.ca import CertificateAuthority
from scripts.emulator.faults import Fault
from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.proxy import LOOPBACK, Proxy
from scripts.emulator.records import Workspace
from scripts.emulator.routing import Router, Routes
from scripts.emulator.state import State
from tests.deadline import deadline, wait_until


class MlflowServer:
    """The server; `url` is the proxy's, `direct` the server's own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        self.direct = f"http://{LOOPBACK}:{port}"
        self.log = folder / "server.log"
        command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
        command += [
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination",
            f"{folder}/files",
        ]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with self.log.open("wb") as log:
            env = os.environ | quiet
            self._server = subprocess.Popen(
                command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
            )
        self._session = requests.Session()
        self._session.trust_env = False
        forward = Routes("mlflow", LOOPBACK.replace(".", r"\."), public=True)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            forward(method, "/{path:path}")(self._forward)
        self._proxy = Proxy(State(Workspace()), Router([forward]), CertificateAuthority(folder))
        self._proxy.start()
        self.url = f"http://{LOOPBACK}:{self._proxy.port}"
        self.stored: list[tuple[str, int]] = []
        """(key, step) of each point that the server has taken; it shows an equal one once, however often it came."""
        self.refuses = ""
        """A key that a stricter server would refuse, with all that is sent along with it."""

    def wait(self) -> "MlflowServer":
        """Return when the server answers."""
        wait_until(self._is_up, 60)
        return self

    def close(self) -> None:
        self._proxy.close()
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def misbehave(self, kind: str, on: str | None = None, **limits: Any) -> Fault:
        """Misbehave from now on; see `Fault`."""
        return self._proxy.misbehave(kind, on, **limits)

    def behave(self) -> None:
        """Lift all faults."""
        self._proxy.behave()

    @property
    def requests(self) -> list[Request]:
        """What the proxy was asked, with the fault that each request met and the status of its answer."""
        return list(self._proxy.state.requests)

    @property
    def client(self) -> Any:
        """An `MlflowClient` of the server itself."""
        import mlflow

        return mlflow.MlflowClient(self.direct)

    def start_run(self, experiment: str = "cifar10") -> RunAddress:
        """Start a run, and return its address behind the proxy."""
        client = self.client
        found = client.get_experiment_by_name(experiment)
        identity = client.create_experiment(experiment) if found is None else found.experiment_id
        return RunAddress(client.create_run(identity).info.run_id, experiment, "", "", "", tracking_uri=self.url)

    def points(self, run_id: str, *keys: str) -> list[tuple[str, int, float]]:
        """Return what MlflowClient reads back of some metrics, sorted."""
        history = [point for key in keys for point in self.client.get_metric_history(run_id, key)]
        return sorted((point.key, point.step, point.value) for point in history)

    def _is_up(self) -> bool:
        assert self._server.poll() is None, self.log.read_text()
        try:
            return self._session.get(f"{self.direct}/health", timeout=deadline(5)).ok
        except requests.RequestException:
            return False

    def _forward(self, state: State, request: Request, path: str) -> Response:
        keep = {name: value for name, value in request.headers.items() if name in ("content-type", "range")}
        url = f"{self.direct}{request.path}"
        if self.refuses and f'"{self.refuses}"'.encode() in request.body:
            raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"{self.refuses!r} is no name")
        answer = self._session.request(request.method, url, request.query, request.body, keep, timeout=deadline(30))
        if answer.ok and path.endswith("runs/log-batch"):
            self.stored += [(metric["key"], metric["step"]) for metric in request.json().get("metrics", ())]
        return Response(answer.status_code, answer.content, {"Content-Type": answer.headers["Content-Type"]})


@pytest.fixture(scope="session")
def running_server() -> Iterator[MlflowServer]:
    folder = Path(tempfile.mkdtemp(prefix="mlflow-"))
    server = MlflowServer(folder)
    try:
        yield server.wait()
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mlflow_server(running_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """The server, behaving; it is one for all tests of this process, because it takes seconds to start."""
    for name in [name for name in os.environ if name.startswith(("AZUREML_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    running_server.stored.clear()
    running_server.refuses = ""
    yield running_server
    running_server.behave()
