"""What the emulator's own tests share."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from scripts.emulator import Emulator
from scripts.emulator.tokens import jwt

Script = Callable[..., str]


@pytest.fixture
def script() -> Script:
    """Return a function that runs Python code in a process with exactly the given environment."""

    def run(code: str, environment: dict[str, str], *arguments: str | Path, code_expected: int = 0) -> str:
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == code_expected, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a small project: a package, a script, a file to be kept out, and the workspace's address."""
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
        identity: str | None = None,
        timeout: float = 10,
    ) -> requests.Response:
        values = [
            {
                "name": name,
                "columns": {name: "double"},
                "value": [{"metricId": identity, "step": step, "data": {name: value}}],
                "properties": {"uxMetricType": "azureml.v1.scalar"},
            }
            for name, step, value in metrics
        ]
        url = f"https://eastus.api.azureml.ms/metric/v2.0{azure.workspace.scope}/runs/run-1/batch"
        return session(azure).post(url, data=json.dumps({"values": values}), timeout=timeout)

    return send
