"""Nothing leaves this machine, nothing inherited gets in, and a request that was not expected fails the test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from scripts.emulator import Emulator
from tests.deadline import deadline

ROOT = Path(__file__).parents[2]


def test_an_unknown_host_is_refused_and_recorded(azure: Emulator, session) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        session(azure).get("https://example.com/", timeout=deadline(1))
    assert session(azure).get("http://example.org/some/path", timeout=deadline(1)).status_code == 403
    assert azure.unexpected == ["unknown host: CONNECT example.com", "unknown host: GET example.org/some/path"]
    azure.forgive("example")
    assert azure.unexpected == []


def test_an_unknown_route_of_a_known_host_is_refused_and_recorded(azure: Emulator, session) -> None:
    answer = session(azure).get("https://eastus.api.azureml.ms/nothing/here", timeout=deadline(1))
    assert answer.status_code == 501 and answer.json()["error"]["code"] == "NotImplemented"
    assert azure.unexpected == ["unknown route: GET eastus.api.azureml.ms/nothing/here"]
    azure.forgive()


def test_a_request_that_breaks_the_emulator_is_recorded_and_answered(azure: Emulator, session) -> None:
    azure.job_environment("run-1", "e")
    url = f"https://eastus.api.azureml.ms/history/v1.0{azure.workspace.scope}/experiments/e/runs:query"
    answer = session(azure).post(url, json={"filter": "status resembles Running"}, timeout=deadline(1))
    assert answer.status_code == 500 and "resembles" in answer.text
    (recorded,) = azure.unexpected
    assert recorded.startswith("internal error at POST /history/") and "resembles" in recorded
    azure.forgive("resembles")


def test_the_pytest_plugin_fails_a_test_with_an_unexpected_request(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_surprised(azure):\n    azure.state.note_unexpected('surprise')\n"
        "def test_calm(azure):\n    assert azure.job_environment('run-1')['AZUREML_RUN_ID'] == 'run-1'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "scripts.emulator.pytest_plugin", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "2 passed, 1 error" in done.stdout and "['surprise']" in done.stdout, done.stdout + done.stderr


def test_it_listens_on_loopback_only(azure: Emulator) -> None:
    port = int(azure.proxy_url.rsplit(":", 1)[1])
    # Any other address of this machine: all of 127.0.0.0/8 is loopback, and only one of them answers.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=deadline(1))
    socket.create_connection(("127.0.0.1", port), timeout=deadline(1)).close()


def test_no_inherited_variable_gets_into_an_environment(azure: Emulator, monkeypatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy", "AZUREML_RUN_ID", "AZUREML_SERVICE_ENDPOINT", "PYTHONPATH"):
        monkeypatch.setenv(name, "/inherited")
    for environment in (azure.job_environment("run-1"), azure.client_environment("none")):
        assert not [name for name, value in environment.items() if "inherited" in value]
        assert environment["HOME"] != os.environ.get("HOME")
        assert environment["HTTPS_PROXY"] == azure.proxy_url
    assert not [name for name in azure.client_environment("none") if name.startswith(("AZUREML_RUN", "MSI"))]
