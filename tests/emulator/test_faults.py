"""The emulator misbehaves on demand: how, where, how often; and shows what came of it."""

import threading

import pytest
import requests

from scripts.emulator import Emulator
from tests.deadline import deadline, wait_until

LOSS = [("loss", 0, 1.0)]


@pytest.fixture
def running(azure: Emulator) -> Emulator:
    """An emulator in which run-1 is running."""
    azure.job_environment("run-1")
    return azure


class Sender(threading.Thread):
    """Posts a metric in the background; `error` is set once the connection has broken."""

    def __init__(self, post, azure: Emulator) -> None:
        super().__init__(daemon=True)
        self._post, self._azure = post, azure
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._post(self._azure, LOSS, timeout=1000)
        except requests.ConnectionError as error:
            self.error = error


def test_a_token_that_has_really_expired_is_malformed_or_missing_is_a_401(running, session) -> None:
    url = f"https://eastus.api.azureml.ms/history/v1.0{running.workspace.scope}/runs/run-1"
    expired = running.job_environment("run-1", token_seconds=-10)["AZUREML_RUN_TOKEN"]
    for authorization in (f"Bearer {expired}", "Bearer no.token.this", None):
        headers = {"Authorization": authorization}
        assert session(running).get(url, headers=headers, timeout=deadline(1)).status_code == 401
    assert session(running).get(url, timeout=deadline(1)).json()["status"] == "Running"


@pytest.mark.parametrize(("kind", "stored"), [("drop", 0), ("store-and-drop", 1)])
def test_a_dropped_request_is_stored_or_not_and_is_stored_again(running, post, kind: str, stored: int) -> None:
    running.misbehave(kind, on="metrics", requests=1)
    with pytest.raises(requests.ConnectionError):
        post(running, LOSS)
    assert len(running.metrics("run-1")) == stored
    assert post(running, LOSS).status_code == 200
    assert len(running.metrics("run-1")) == stored + 1


def test_silence_never_answers_until_it_is_lifted_though_it_is_used_up(running, post) -> None:
    fault = running.misbehave("silence", requests=2)
    with pytest.raises(requests.ReadTimeout):
        post(running, LOSS, timeout=(deadline(3), 0.2))
    sender = Sender(post, running)
    wait_until(lambda: fault.hits == 2)
    assert post(running, LOSS).status_code == 200 and sender.error is None
    running.behave()
    wait_until(lambda: sender.error is not None)
    assert len(running.metrics("run-1")) == 1


def test_closing_does_not_wait_for_requests_that_are_held(post) -> None:
    with Emulator() as azure:
        azure.job_environment("run-1")
        faults = [azure.misbehave("silence", requests=1), azure.misbehave("latency", delay=1000, requests=2)]
        senders = [Sender(post, azure) for _ in range(2)]
        wait_until(lambda: faults[1].hits == 2)
    wait_until(lambda: all(sender.error is not None for sender in senders))


def test_refusing_cuts_off_open_connections_until_the_service_is_back_at_the_same_address(running, session) -> None:
    client = session(running)
    url = f"https://eastus.api.azureml.ms/history/v1.0{running.workspace.scope}/runs/run-1"
    assert client.get(url, timeout=deadline(1)).status_code == 200
    running.misbehave("refuse")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            client.get(url, timeout=deadline(1))
    running.behave()
    assert client.get(url, timeout=deadline(1)).status_code == 200


@pytest.mark.parametrize(
    "mistake", [{"kind": "sulk"}, {"kind": "latency"}, {"kind": "200"}, {"kind": "refuse", "on": "metrics"}]
)
def test_an_unknown_misbehaviour_is_refused_at_once(azure: Emulator, mistake: dict) -> None:
    with pytest.raises(ValueError, match="misbehaviour"):
        azure.misbehave(**mistake)
