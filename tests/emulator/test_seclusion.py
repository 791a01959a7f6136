"""Nothing leaves this machine, nothing inherited gets in, and what was not expected is told."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from scripts.emulator import Emulator


def test_an_unknown_host_is_refused_and_told(azure: Emulator, session) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        session(azure).get("https://example.com/", timeout=5)
    assert session(azure).get("http://example.org/some/path", timeout=5).status_code == 403
    assert azure.unexpected == [
        "unknown host: CONNECT example.com",
        "unknown host: GET example.org/some/path",
    ]
    azure.forgive("example")
    assert azure.unexpected == []


def test_an_unknown_route_of_a_known_host_is_refused_and_told(azure: Emulator, session) -> None:
    answer = session(azure).get("https://eastus.api.azureml.ms/nothing/here", timeout=5)
    assert answer.status_code == 501 and answer.json()["error"]["code"] == "NotImplemented"
    assert azure.unexpected == ["unknown route: GET eastus.api.azureml.ms/nothing/here"]
    azure.forgive()


def test_a_test_with_an_unexpected_request_fails(tmp_path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import azure\n")
    (tmp_path / "test_it.py").write_text("def test_it(azure):\n    azure.state.note_unexpected('surprise')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1 and "surprise" in done.stdout, done.stdout


def test_it_listens_on_loopback_only(azure: Emulator) -> None:
    port = int(azure.proxy_url.rsplit(":", 1)[1])
    # Any other address of this machine: all of 127.0.0.0/8 is loopback, and only one of them answers.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_no_inherited_variable_gets_into_an_environment(azure: Emulator, monkeypatch) -> None:
    for name in (
        "NO_PROXY",
        "no_proxy",
        "https_proxy",
        "AZUREML_RUN_ID",
        "AZUREML_SERVICE_ENDPOINT",
        "AZURE_X",
    ):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("PYTHONPATH", "/inherited")
    for environment in (azure.job_environment("run-1"), azure.client_environment("none")):
        assert not [name for name, value in environment.items() if "inherited" in value]
        assert environment["HOME"] != os.environ.get("HOME")
        assert environment["HTTPS_PROXY"] == azure.proxy_url
    assert not [name for name in azure.client_environment("none") if name.startswith(("AZUREML_RUN", "MSI"))]


def test_the_certificates_are_worth_nothing_elsewhere(azure: Emulator, session) -> None:
    client = session(azure)
    client.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        client.get("https://eastus.api.azureml.ms/discovery", timeout=5)


@pytest.mark.parametrize("auth", ["service-principal", "managed-identity", "cli"])
def test_a_control_script_signs_in_without_a_browser(azure: Emulator, script, project, auth: str) -> None:
    code = """
        import sys
        from azureml.core import Workspace
        workspace = Workspace.from_config(sys.argv[1])
        print(type(workspace._auth_object._ambient_auth).__name__, workspace.get_default_datastore().name)
    """
    azure.write_config(project)
    said = script(code, azure.client_environment(auth), project).split()
    kinds = {"service-principal": "ServicePrincipalAuthentication", "managed-identity": "MsiAuthentication"}
    assert said == [kinds.get(auth, "NoneType"), "workspaceblobstore"]
    assert any(request.route == "login" for request in azure.requests)


def test_a_wrong_password_and_another_workspace_are_refused(azure: Emulator, script, project) -> None:
    code = """
        import json, sys
        from azureml.core import Workspace
        try:
            Workspace.from_config(sys.argv[1])
        except Exception as error:
            print(str(error))
    """
    config = azure.write_config(project)
    environment = azure.client_environment() | {"AZUREML_SERVICE_PRINCIPAL_PASSWORD": "wrong"}
    assert "Invalid client secret" in script(code, environment, project)
    config.write_text(config.read_text().replace('"emulator"', '"elsewhere"'))
    assert "Workspace not found" in script(code, azure.client_environment(), project)


def test_starting_takes_less_than_half_a_second() -> None:
    code = """if True:
        import time
        from scripts.emulator import Emulator
        start = time.perf_counter()
        with Emulator():
            print(time.perf_counter() - start)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5
