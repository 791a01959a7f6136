"""Notice that the node is taken away: it ends the training as SIGTERM does; nobody is asked outside a job."""

import json
import os
import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_cifar.azure import notice
from lightning_cifar.azure.notice import PreemptionNotice, announced
from scripts.emulator import Emulator
from scripts.emulator.routes.metadata import NODE, announcement
from tests.deadline import deadline, wait_until


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as this process is sent SIGTERM, which does nothing else."""
    event = threading.Event()
    monkeypatch.setattr(notice, "PAUSE_SECONDS", 0.01)
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    yield event
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def watch() -> Callable[..., PreemptionNotice]:
    """Begin to watch in a process of this rank on its node."""
    started: list[PreemptionNotice] = []

    def start(local_rank: int = 0) -> PreemptionNotice:
        started.append(PreemptionNotice())
        started[-1].setup(SimpleNamespace(local_rank=local_rank), None, "fit")
        return started[-1]

    yield start
    for each in started:
        each.teardown(None, None, "fit")


def asked(azure: Emulator) -> int:
    return sum(request.route == "metadata" for request in azure.requests)


@pytest.mark.parametrize("kind", ["Preempt", "Terminate"])
def test_an_event_for_this_node_raises_sigterm_once(job: Emulator, watch, signalled, kind: str, capsys) -> None:
    watch()
    wait_until(lambda: asked(job) > 2)
    assert not signalled.is_set()
    with job.state.lock:
        job.state.events = [announcement("Reboot"), announcement(kind, "another_1")]
    known = asked(job)
    wait_until(lambda: asked(job) > known + 1)
    assert not signalled.is_set(), "another event, another node"
    with job.state.lock:
        job.state.events.append(announcement(kind))
    assert signalled.wait(deadline(5))
    assert f"notice: Azure takes node {NODE} away ({kind})" in capsys.readouterr().out
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "preemption"])


def test_a_service_that_fails_for_a_while_is_asked_again(job: Emulator, watch, signalled) -> None:
    watch()
    wait_until(lambda: asked(job) > 1)
    failing = job.misbehave("500", on="metadata", requests=3)
    with job.state.lock:
        job.state.events = [announcement("Preempt")]
    assert signalled.wait(deadline(5)) and failing.hits == 3


def test_nobody_is_asked_outside_a_job_by_other_processes_of_the_node_or_when_switched_off(
    job: Emulator, watch, signalled, monkeypatch
) -> None:
    asking = Mock()
    monkeypatch.setattr(notice, "_ask", asking)
    watch(local_rank=1)
    with monkeypatch.context() as patch:
        patch.setenv(notice.VARIABLE, "off")
        watch()
    with monkeypatch.context() as patch:
        patch.delenv("AZUREML_RUN_ID")
        patch.delenv(notice.VARIABLE)
        watch()
    assert not [thread for thread in threading.enumerate() if thread.name == "preemption"]
    asking.assert_not_called()


def test_where_no_such_service_answers_the_watch_ends(job: Emulator, watch, signalled, monkeypatch) -> None:
    monkeypatch.setattr(notice, "HERE_SECONDS", 0.05)
    job.misbehave("silence", on="metadata")
    watch()
    wait_until(lambda: asked(job))
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "preemption"])
    assert asked(job) == 1 and not signalled.is_set()


def test_what_tests_and_the_emulator_start_never_asks_azure(azure: Emulator) -> None:
    assert os.environ[notice.VARIABLE] == "off"
    for environment in (azure.job_environment("run-1"), azure.client_environment()):
        assert environment[notice.VARIABLE].startswith(azure.proxy_url)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Events", "EventType", "Resources", "x"]), inner),
)


@given(st.binary() | JSON.map(lambda content: json.dumps(content).encode()))
def test_an_answer_without_sense_announces_nothing(answer: bytes) -> None:
    assert announced(answer, NODE) is None
