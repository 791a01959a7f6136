"""The training process's side: how long it waits, what it warns of, and how its relays end."""

import os
from pathlib import Path

import pytest

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure import process
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import pending
from lightning_cifar.azure.run import RunAddress
from tests.azure.conftest import FAKE
from tests.deadline import wait_until


@pytest.fixture
def deliver(fake, tmp_path):
    """Make a delivery for the job's run."""
    return lambda: Delivery(RunAddress.of_job(), FAKE, tmp_path / "outputs", 60.0, {})


def line(name="a", step=0):
    return entry_line({"metric": name, "value": 1.0, "step": step, "time": 0})


def relays(delivery):
    return [outbox.process for outbox in delivery.outboxes.values() if outbox.process is not None]


def test_close_sends_everything_and_ends_the_relays_and_the_logger_can_be_used_again(fake):
    Path("note.txt").write_text("x")
    logger, open_files = AzureMLLogger(), len(list(Path("/proc/self/fd").iterdir()))
    for step in range(2):
        logger.log_metrics({"a": 1.0}, step)
        logger.log_artifact("note.txt")
        started = relays(logger._delivery)
        logger.close()
        logger.close()
        assert [relay.returncode for relay in started] == [0, 0]
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    assert fake.points() == [("a", 0, 1.0), ("a", 1, 1.0)]
    assert fake.read("artifacts") == [["note.txt", "x"], ["note-v1.txt", "x"]]


def test_a_service_that_takes_nothing_is_given_up_with_one_warning_that_names_the_records(fake, deliver):
    fake.script("open", "hang*")
    delivery = deliver()
    delivery.write(line() + line(step=1))
    delivery.add("media", {"file": "a", "path": "a"})
    with pytest.warns(UserWarning, match="AzureMLLogger: 3 entries have not reached Azure ML") as caught:
        delivery.drain(0.3)
        delivery.drain(0.3)  # a test after the fit
    assert len(caught) == 1
    files = str(caught[0].message).split("python -m lightning_cifar.azure.replay ")[1].split()
    assert files == [str(outbox.path) for outbox in delivery.outboxes.values()]


def test_what_a_wait_gave_up_on_is_not_waited_for_again_until_it_has_arrived(fake, deliver):
    fake.script("open", "500*")
    delivery = deliver()
    for seconds in (0.1, 100_000.0):
        delivery.write(line())
        with pytest.warns(UserWarning, match=r"entries have not reached"):
            delivery.drain(seconds)
        delivery._warned.clear()
    fake.behave()
    wait_until(lambda: not pending(delivery.outboxes["metrics"].path))
    fake.script("open", "500")
    delivery.write(line(step=1))
    delivery.drain(100_000.0)
    assert ("a", 1, 1.0) in fake.points()


def test_what_is_dropped_is_warned_of_once_with_an_example(fake, deliver):
    fake.append("points", *(["run-1", f"m{number}", 0, 1.0] for number in range(50)))
    delivery = deliver()
    delivery.write(line("b"))
    with pytest.warns(
        UserWarning, match=r"1 entries are kept on disk but not sent \(no room .*\), such as: b"
    ) as caught:
        delivery.drain(100_000.0)
        delivery.drain(100_000.0)
    assert len(caught) == 1


def test_a_relay_that_died_is_started_again_and_nothing_is_sent_twice(fake, deliver, monkeypatch):
    monkeypatch.setattr(process, "RESTART_SECONDS", 0.0)
    delivery = deliver()
    delivery.write(line())
    wait_until(fake.points)
    (first,) = relays(delivery)
    assert os.getsid(first.pid) == first.pid != os.getsid(0)  # Ctrl-C at the terminal is for the training
    first.kill()
    first.wait()
    delivery.write(line(step=1))
    wait_until(lambda: len(fake.points()) == 2)
    assert relays(delivery) != [first]


def test_a_hopeless_relay_is_not_waited_for_nor_started_again(fake, deliver, monkeypatch):
    monkeypatch.setattr(process, "RESTART_SECONDS", 0.0)
    fake.script("open", "404")
    delivery = deliver()
    delivery.write(line())
    with pytest.warns(UserWarning, match=r"have not reached Azure ML \(run run-1 is not in workspace"):
        delivery.drain(100_000.0)
    before = relays(delivery)
    delivery.write(line(step=1))
    assert relays(delivery) == before and before[0].returncode == process.HOPELESS
