"""A disk without room, and a record at its limit: what is lost is counted and said, and recording starts again."""

import contextlib
import re
import subprocess
from pathlib import Path

import pytest

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import Progress
from lightning_cifar.azure.run import RunAddress
from tests.azure.conftest import FAKE
from tests.deadline import wait_until


def metric(step):
    return entry_line({"metric": "loss", "value": step / 7, "step": step, "time": 0})


def unrecorded(caught):
    """Return how many entries the warnings say are lost; and what else was warned of."""
    found = [re.search(r"(\d+) entries could not be recorded", str(one.message)) for one in caught]
    return sum(int(each[1]) for each in found if each), len(caught) - len([each for each in found if each])


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_while_the_disk_is_full_the_training_goes_on_and_afterwards_recording_does(fake, small_disk):
    delivery, filler = Delivery(RunAddress.of_job(), FAKE, small_disk, 60.0, {}), small_disk / "filler"
    delivery.write(metric(0))
    wait_until(fake.points)
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(1_000_000))
    with pytest.warns(UserWarning) as caught:
        for step in range(1, 1000):
            delivery.write(metric(step))
        filler.unlink()
        for step in range(1000, 1100):
            delivery.write(metric(step))
        delivery.drain(100_000.0)
    lost, others = unrecorded(caught)
    arrived = [step for _, step, _ in fake.points()]
    assert arrived[-100:] == list(range(1000, 1100)) and arrived[0] == 0
    assert len(arrived) + lost == 1100 and lost > 500
    assert others == 1 and "cannot record metrics; the training goes on" in str(caught[0].message)


def test_beyond_max_bytes_nothing_is_recorded_until_the_service_has_taken_some(fake, tmp_path):
    fake.script("open", "500*")
    delivery = Delivery(RunAddress.of_job(), FAKE, tmp_path / "outputs", 60.0, {}, max_bytes=20_000)
    with pytest.warns(UserWarning) as caught:
        for step in range(1000):
            delivery.write(metric(step))
        record = delivery.outboxes["metrics"].path
        assert 19_000 < record.stat().st_size <= 20_000
        fake.behave()
        wait_until(lambda: Progress.read(record).offset == record.stat().st_size)
        for step in range(1000, 1100):
            delivery.write(metric(step))
        delivery.drain(100_000.0)
    lost, others = unrecorded(caught)
    assert [step for _, step, _ in fake.points()] == [*range(1000 - lost), *range(1000, 1100)]
    assert 0 < lost < 1000 and others == 1 and "max_bytes is 20,000" in str(caught[0].message)


def test_the_logger_hands_on_how_its_records_are_kept(recorded):
    logger = AzureMLLogger(durable=True, max_bytes=400)
    with pytest.warns(UserWarning, match="max_bytes is 400"):
        logger.log_metrics({"a": 1.0}, 0)
    assert not recorded.points() and not list(Path().rglob("*.jsonl"))
