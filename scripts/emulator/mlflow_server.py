"""A real `mlflow server`, with a database of its own, behind a proxy that misbehaves as the emulator does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from scripts.emulator.ca import CertificateAuthority
from scripts.emulator.faults import Fault
from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.proxy import LOOPBACK, Proxy
from scripts.emulator.records import Workspace
from scripts.emulator.routing import Router, Routes
from scripts.emulator.state import State


class MlflowServer:
    """The server, with its files in `folder`; `url` is the proxy's, `direct` the server's own.

    The proxy waits `timeout` seconds for an answer of the server.
    """

    def __init__(self, folder: Path, timeout: float = 300.0) -> None:
        self._timeout = timeout
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
        """Return when the server answers.

        Raises:
            RuntimeError: it does not.
        """
        until = time.monotonic() + 2 * self._timeout
        while not self._is_up():
            if self._server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no MLflow server: {self.log.read_text()}")
            time.sleep(0.1)
        return self

    def close(self) -> None:
        """End it."""
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

    def new_run(self) -> str:
        """Start a run, and return its id."""
        url, run = f"{self.direct}/api/2.0/mlflow/runs/create", {"experiment_id": "0"}
        run_id: str = self._session.post(url, json=run, timeout=self._timeout).json()["run"]["info"]["run_id"]
        return run_id

    def _is_up(self) -> bool:
        try:
            return self._session.get(f"{self.direct}/health", timeout=self._timeout).ok
        except requests.RequestException:
            return False

    def _forward(self, state: State, request: Request, path: str) -> Response:
        keep = {name: value for name, value in request.headers.items() if name in ("content-type", "range")}
        url = f"{self.direct}{request.path}"
        if self.refuses and f'"{self.refuses}"'.encode() in request.body:
            raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"{self.refuses!r} is no name")
        answer = self._session.request(request.method, url, request.query, request.body, keep, timeout=self._timeout)
        if answer.ok and path.endswith("runs/log-batch"):
            self.stored += [(metric["key"], metric["step"]) for metric in request.json().get("metrics", ())]
        return Response(answer.status_code, answer.content, {"Content-Type": answer.headers["Content-Type"]})
