"""Nobody but the processes that it was started for gets an answer: no web page, and no other user of the machine."""

import socket
import stat

import pytest
import requests

from scripts.emulator import Emulator
from tests.deadline import deadline

AZURE = "eastus.api.azureml.ms"


def ask(azure: Emulator, request: str, **headers: str) -> bytes:
    """Send a request as a browser does that was led to this address; return the answer's first line."""
    port = int(azure.proxy_url.rsplit(":", 1)[1])
    lines = [f"{request} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=deadline(1)) as connection:
        connection.sendall("\r\n".join(lines).replace("PORT", str(port)).encode())
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        ("GET /nothing", {"Host": "evil.example"}),
        ("GET /nothing", {"Host": "evil.example:PORT"}),
        ("GET /nothing", {"Host": AZURE}),
        ("POST /msi/token", {"Host": "127.0.0.1:PORT", "Origin": "https://evil.example"}),
        ("POST /msi/token", {"Host": "127.0.0.1:PORT", "Origin": "null"}),
        (f"GET http://{AZURE}/nothing", {"Host": AZURE}),
        ("GET http://example.org/", {"Host": "example.org"}),
        (f"CONNECT {AZURE}:443", {"Host": AZURE}),
        (f"CONNECT {AZURE}:443", {"Host": AZURE, "Proxy-Authorization": "Basic ZW11bGF0b3I6"}),
        (f"CONNECT {AZURE}:443", {"Host": AZURE, "Proxy-Authorization": "Basic \xe9"}),
    ],
    ids=str,
)
def test_whoever_was_not_told_the_password_is_refused_wherever_its_name_leads(azure, request_line, headers):
    assert ask(azure, request_line, **headers).startswith(b"HTTP/1.1 407 ")
    assert [what.split(":")[0] for what in azure.unexpected] == ["without the proxy's password"]
    assert not azure.requests
    azure.forgive("password")


def test_a_process_that_was_told_it_is_answered_and_each_emulator_has_its_own(azure, session):
    assert session(azure).get(f"https://{AZURE}/nothing", timeout=deadline(1)).status_code == 501
    with Emulator() as other:
        strange = session(azure)
        port = other.proxy_url.rsplit(":", 1)[1]
        strange.proxies = {"https": f"{azure.proxy_url.rsplit(':', 1)[0]}:{port}"}
        with pytest.raises(requests.exceptions.ProxyError, match="407"):
            strange.get(f"https://{AZURE}/nothing", timeout=deadline(1))
    azure.forgive()


def test_its_folder_is_its_owners_alone(azure):
    assert stat.S_IMODE(azure.folder.stat().st_mode) == 0o700
