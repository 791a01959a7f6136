"""A clock that is set a day forth or back in mid-run: nothing arrives twice, nothing waits."""

import json
import os
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import Progress, pending
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import seconds_since
from tests.azure.conftest import FAKE, kill
from tests.deadline import deadline, wait_until

DAY = 86400.0
POINTS = [("loss", step, step / 7) for step in range(100)]


@pytest.fixture
def shift_clock(tmp_path, monkeypatch):
    """Let the clocks of this process and of its relays be so many seconds off from now on."""
    file, right = tmp_path / "clock", time.time
    file.write_text("0")
    monkeypatch.setenv("CLOCK_SHIFT", str(file))
    monkeypatch.setenv("RELAY_HOOK", "clock_of_another_day")

    def shift(seconds):
        (tmp_path / "new").write_text(str(seconds))
        (tmp_path / "new").replace(file)
        monkeypatch.setattr(time, "time", lambda: right() + seconds)

    return shift


def test_whatever_the_clock_does_in_mid_run_everything_arrives_once_and_at_once(fake, tmp_path, shift_clock):
    delivery, shifts = Delivery(RunAddress.of_job(), FAKE, tmp_path / "outputs", 60.0, {}), (0, DAY, -DAY, -2 * DAY, 0)
    for step, seconds in enumerate(shifts):
        shift_clock(seconds)
        delivery.write(entry_line({"metric": "loss", "value": 1.0, "step": step, "time": time.time()}))
        fake.script("log", "500", "lost")
        wait_until(lambda step=step: ("loss", step, 1.0) in fake.points())
    delivery.drain(100_000.0)
    assert fake.points() == [("loss", step, 1.0) for step in range(len(shifts))]


@pytest.mark.parametrize("days", [0, 1, -1])
def test_a_batch_that_a_killed_process_left_in_flight_is_waited_for(
    fake, record, start_relay, monkeypatch, shift_clock, days
):
    """The service stores it after the process has been killed; what then reads back must see it."""
    fake.script("log", "late")
    first = start_relay(record)
    wait_until(lambda: fake.read("late"))
    kill(first)
    assert not fake.points()
    shift_clock(days * DAY)
    progress = Progress.read(record)
    progress.in_flight = time.monotonic()  # just now, however slow this machine is
    progress.write(record)
    constants = {"attempt": {"IN_FLIGHT_SECONDS": deadline(0.5)}}  # so long the service may take
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps(constants))
    second = start_relay(record)
    wait_until(lambda: Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text())
    time.sleep(0.2)  # an attempt that did not wait would have read back by now
    fake.store_late()
    wait_until(lambda: not pending(record))
    assert fake.points() == POINTS
    assert fake.calls("log") == 1, "nothing was left to send"


def test_the_time_since_a_moment_is_never_overstated(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert seconds_since(970.0) == 30.0
    assert seconds_since(5000.0) == 1000.0, "the machine has been started anew since"


def test_a_checkpoint_that_was_saved_again_is_uploaded_though_the_clock_was_set_back(recorded):
    checkpoint = Path("a.ckpt")
    callback = Mock(last_model_path="", best_model_path="a.ckpt", best_k_models={}, best_model_score=None, save_top_k=1)
    logger = AzureMLLogger(log_model="all")
    for content, moment in (("new", time.time()), ("again", time.time() - DAY)):
        checkpoint.write_text(content)
        os.utime(checkpoint, (moment, moment))
        logger.after_save_checkpoint(callback)
        logger.after_save_checkpoint(callback)
    assert sorted(recorded.files().values()) == [b"again", b"new"]
