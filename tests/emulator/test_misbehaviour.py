"""The emulator misbehaves as it is told: how, where, how often, how long; and shows what came of it."""

import threading
import time

import pytest
import requests

from scripts.emulator import Emulator

LOSS = [("loss", 0, 1.0)]


@pytest.fixture
def running(azure: Emulator) -> Emulator:
    azure.job_environment("run-1")
    return azure


@pytest.mark.parametrize("status", ["400", "429", "500", "503"])
def test_a_status_is_answered_as_often_as_told_and_nothing_is_stored(running, post, status: str) -> None:
    fault = running.misbehave(status, on="metrics", requests=2, retry_after=1.5)
    answers = [post(running, LOSS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [int(status), int(status), 200]
    assert answers[0].headers["Retry-After"] == "1.5" and "Retry-After" not in answers[2].headers
    assert fault.hits == 2 and len(running.metrics("run-1")) == 1
    assert [request.fault for request in running.requests] == [status, status, ""]


def test_an_expired_token_is_a_401(running, post) -> None:
    running.misbehave("expired", requests=1)
    assert [post(running, LOSS).status_code for _ in range(2)] == [401, 200]


def test_a_token_that_has_really_expired_or_is_missing_is_a_401(running, session) -> None:
    url = f"https://eastus.api.azureml.ms/history/v1.0{running.workspace.scope}/runs/run-1"
    token = running.job_environment("run-1", token_seconds=-10)["AZUREML_RUN_TOKEN"]
    for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": None}):
        assert session(running).get(url, headers=headers, timeout=5).status_code == 401
    assert session(running).get(url, timeout=5).json()["status"] == "Running"


def test_latency_is_added_to_every_request_and_to_other_faults(running, post) -> None:
    running.misbehave("latency", delay=0.2)
    running.misbehave("500", requests=1)
    for status in (500, 200):
        start = time.monotonic()
        assert post(running, LOSS).status_code == status
        assert 0.2 <= time.monotonic() - start < 2


@pytest.mark.parametrize(("kind", "stored"), [("drop", 0), ("store-and-drop", 1)])
def test_a_dropped_connection_has_or_has_not_stored_the_request(running, post, kind: str, stored: int) -> None:
    running.misbehave(kind, on="metrics", requests=1)
    with pytest.raises(requests.ConnectionError):
        post(running, LOSS)
    assert len(running.metrics("run-1")) == stored
    assert post(running, LOSS).status_code == 200


def test_silence_never_answers_until_it_is_lifted(running, post) -> None:
    fault = running.misbehave("silence")
    with pytest.raises(requests.ReadTimeout):
        post(running, LOSS, timeout=0.5)
    held: list[Exception] = []

    def wait() -> None:
        try:
            post(running, LOSS, timeout=20)
        except requests.ConnectionError as error:
            held.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while fault.hits < 2:
        time.sleep(0.01)
    running.behave()
    waiting.join(5)
    assert held and not running.metrics("run-1")
    assert post(running, LOSS).status_code == 200


def test_a_refused_service_is_back_at_the_same_address(running, post) -> None:
    address = running.proxy_url
    running.misbehave("refuse", seconds=0.5)
    with pytest.raises(requests.exceptions.ProxyError, match="refused"):
        post(running, LOSS)
    time.sleep(0.7)
    assert post(running, LOSS).status_code == 200
    running.misbehave("refuse")
    running.behave()
    assert post(running, LOSS).status_code == 200 and running.proxy_url == address


def test_refusing_cuts_off_connections_that_are_open(running, session) -> None:
    client = session(running)
    url = f"https://eastus.api.azureml.ms/history/v1.0{running.workspace.scope}/runs/run-1"
    assert client.get(url, timeout=5).status_code == 200
    running.misbehave("refuse")
    with pytest.raises(requests.ConnectionError):
        client.get(url, timeout=5)


def test_a_fault_ends_after_its_time(running, post) -> None:
    running.misbehave("503", seconds=0.5)
    assert post(running, LOSS).status_code == 503
    time.sleep(0.6)
    assert post(running, LOSS).status_code == 200


@pytest.mark.parametrize(("on", "status"), [("metrics", 500), ("history", 200), (r"runs/run-1/batch$", 500)])
def test_a_fault_hits_only_the_routes_it_is_for(running, post, on: str, status: int) -> None:
    running.misbehave("500", on=on)
    assert post(running, LOSS).status_code == status


@pytest.mark.parametrize(
    "mistake", [{"kind": "sulk"}, {"kind": "latency"}, {"kind": "200"}, {"kind": "refuse", "on": "metrics"}]
)
def test_an_unknown_misbehaviour_is_refused_at_once(azure: Emulator, mistake: dict) -> None:
    with pytest.raises(ValueError, match="misbehaviour"):
        azure.misbehave(**mistake)


def test_the_sdk_gets_its_metrics_through_after_errors(running, script) -> None:
    code = """
        from azureml.core import Run
        run = Run.get_context()
        for step in range(10):
            run.log("loss", 1.0, step=step)
        run.flush()
    """
    faults = [running.misbehave(kind, on="metrics", requests=1) for kind in ("429", "500", "drop", "503")]
    environment = running.job_environment("run-1")
    backoffs = ("AZUREML_DEFAULT_BACKOFF", "AZUREML_DEFAULT_500_BACKOFF", "AZUREML_DEFAULT_503_BACKOFF")
    script(code, environment | dict.fromkeys(backoffs, "0"))
    assert [fault.hits for fault in faults] == [1, 1, 1, 1]
    assert sorted(one.step for one in running.metrics("run-1")) == list(range(10))


def test_closing_does_not_wait_for_requests_that_are_held(post) -> None:
    with Emulator() as azure:
        azure.job_environment("run-1")
        fault = azure.misbehave("silence")

        def send() -> None:
            with pytest.raises(requests.ConnectionError):
                post(azure, LOSS)

        sender = threading.Thread(target=send)
        sender.start()
        while not fault.hits:
            time.sleep(0.01)
        start = time.monotonic()
    assert time.monotonic() - start < 2
    sender.join(5)
    assert not sender.is_alive()
