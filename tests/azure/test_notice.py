"""Notice that the node is taken away: it ends the training as SIGTERM does; nobody is asked outside a job."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
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


class ATrainer:
    """What a watch sees of a Trainer."""

    def __init__(self, local_rank: int) -> None:
        self.local_rank, self.callbacks = local_rank, ["another"]


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "preemption"]


@pytest.fixture
def watch(signalled) -> Iterator[Callable[..., None]]:
    """Begin to watch in a process of this rank on its node, until the test ends."""
    trainers: list[ATrainer] = []

    def start(local_rank: int = 0) -> None:
        trainers.append(ATrainer(local_rank))
        notice = PreemptionNotice()
        trainers[-1].callbacks.append(notice)
        notice.setup(trainers[-1], None, "fit")
        assert trainers[-1].callbacks == ["another"], "it costs the steps nothing"

    yield start
    trainers.clear()
    wait_until(lambda: not watching())


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
    wait_until(lambda: not watching())


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
    assert not watching()
    asking.assert_not_called()


def test_where_no_such_service_answers_the_watch_ends(job: Emulator, watch, signalled, monkeypatch) -> None:
    monkeypatch.setattr(notice, "HERE_SECONDS", 0.05)
    job.misbehave("silence", on="metadata")
    watch()
    wait_until(lambda: asked(job))
    wait_until(lambda: not watching())
    assert asked(job) == 1 and not signalled.is_set()


def test_what_tests_and_the_emulator_start_never_asks_azure(azure: Emulator) -> None:
    assert os.environ[notice.VARIABLE] == "off"
    for environment in (azure.job_environment("run-1"), azure.client_environment()):
        assert environment[notice.VARIABLE].startswith(f"http://{azure.proxy_url.rpartition('@')[2]}/")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["Events", "EventType", "Resources", "x"]), inner),
)


@given(st.binary() | JSON.map(lambda content: json.dumps(content).encode()))
def test_fuzz_metadata_an_answer_without_sense_announces_nothing(answer: bytes) -> None:
    assert announced(answer, NODE) is None
