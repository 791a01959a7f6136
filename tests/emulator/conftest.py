"""What the emulator's own tests share."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from scripts.emulator import Emulator
from scripts.emulator.tokens import jwt
from tests.deadline import deadline
from tests.sdk import run_with_sdk

Script = Callable[..., str]


def pytorch(nodes: int, processes: int | None) -> dict[str, object]:
    """Return what `PyTorchConfiguration("Gloo", process_count=processes, node_count=nodes)` adds to a definition."""
    world = {"pytorch": {"processCount": processes, "nodeCount": nodes}, "nodeCount": nodes}
    return world | {"framework": "PyTorch", "communicator": "gloo"}


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Return a function that runs a script with exactly the given environment, and returns what it prints."""

    def run(code: str, environment: dict[str, str], *arguments: str | Path) -> str:
        outcome = run_with_sdk(code, environment, arguments, tmp_path)
        assert outcome.code == 0, outcome
        return outcome.out

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a small project: a package, a file to be kept out of snapshots."""
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").touch()
    (folder / "pkg" / "helper.py").write_text("ANSWER = 42\n")
    (folder / "secret.txt").write_text("keep me out")
    (folder / ".amlignore").write_text("secret.txt\nconfig.json\n")
    return folder


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Callable[[Emulator], requests.Session]:
    """Return a function that makes a plain HTTP client, which starts at once, unlike the SDK."""

    def make(azure: Emulator) -> requests.Session:
        client = requests.Session()
        request.addfinalizer(client.close)
        client.trust_env = False
        client.proxies = {"https": azure.proxy_url, "http": azure.proxy_url}
        client.verify = str(azure.ca_file)
        client.headers["Authorization"] = f"Bearer {jwt(3600)}"
        return client

    return make


@pytest.fixture
def post(session: Callable[[Emulator], requests.Session]) -> Callable[..., requests.Response]:
    """Return a function that posts one batch of metrics (name, step, value) to run-1."""

    def send(
        azure: Emulator,
        metrics: list[tuple[str, int | None, float]],
        timeout: float | tuple[float, float] | None = None,
    ) -> requests.Response:
        values = [
            {
                "name": name,
                "columns": {name: "double"},
                "value": [{"step": step, "data": {name: value}}],
                "properties": {"uxMetricType": "azureml.v1.scalar"},
            }
            for name, step, value in metrics
        ]
        url = f"https://eastus.api.azureml.ms/metric/v2.0{azure.workspace.scope}/runs/run-1/batch"
        return session(azure).post(url, data=json.dumps({"values": values}), timeout=timeout or deadline(3))

    return send


@pytest.fixture
def submit(azure: Emulator, project: Path) -> Callable[..., str]:
    """Return a function that submits the project without the SDK: further files by path, fields of the definition."""

    def send(files: dict[str, str] | None = None, **definition: object) -> str:
        run_id = f"job-{len(azure.runs())}"
        content = {path.relative_to(project).as_posix(): path.read_bytes() for path in project.rglob("*.py")}
        content |= {name: textwrap.dedent(text).encode() for name, text in (files or {}).items()}
        azure.state.blobs.setdefault("snapshots", {}).update({f"{run_id}/{n}": c for n, c in content.items()})
        azure.state.snapshots[run_id] = {name: f"{run_id}/{name}" for name in content}
        run = azure.state.add_run(run_id, "jobs")
        run.snapshot, run.definition, run.status = run_id, {"target": "cpu-cluster"} | definition, "Queued"
        return run_id

    return send
