"""A disk that is full for a while costs what was logged meanwhile, and nothing else."""

import json
import resource
from pathlib import Path

import pytest

from lightning_cifar.azure.outbox import Outbox, Progress, read_entries, read_header
from lightning_cifar.azure.run import RunAddress

ADDRESS = RunAddress("run-1", "e", "w", "g", "s")


@pytest.fixture
def full_at():
    """Let no file grow beyond a size, as if the disk were full there; None: lift it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit(None)


def line(step):
    return json.dumps({"metric": "a", "value": 1.0, "step": step}) + "\n"


@pytest.mark.parametrize("room", [0, 10], ids=["nothing", "part of an entry"])
def test_what_is_logged_after_a_full_disk_can_be_read(tmp_path, full_at, room):
    spool = Outbox(tmp_path / "a.jsonl", ADDRESS)
    spool.append(line(0))
    full_at(spool.size + room)
    for step in (1, 2):
        with pytest.raises(OSError, match="no space"):
            spool.append(line(step))
    full_at(None)
    spool.append(line(3))
    entries = list(read_entries(spool.path, read_header(spool.path)[1]))
    assert [entry["step"] for entry, _ in entries] == [0, 3]
    assert entries[-1][1] == spool.size == spool.path.stat().st_size


@pytest.mark.parametrize("room", [0, 10], ids=["nothing", "part of the header"])
def test_a_disk_that_is_full_at_the_first_entry_is_tried_anew(tmp_path, full_at, room):
    spool = Outbox(tmp_path / "a.jsonl", ADDRESS)
    full_at(room)
    for _ in range(2):
        with pytest.raises(OSError, match=r"no space|too large"):
            spool.append(line(0))
    full_at(None)
    assert not list(tmp_path.iterdir())
    spool.append(line(1))
    assert read_header(spool.path)[0] == ADDRESS


def test_a_confirmation_that_cannot_be_written_leaves_no_file(tmp_path, full_at):
    full_at(0)
    with pytest.raises(OSError):
        Progress(offset=5).write(tmp_path / "a.jsonl")
    full_at(None)
    assert not list(tmp_path.iterdir())


def test_after_a_full_disk_both_losses_are_told(job, full_at):
    """The one entry that could not be written, and at the end those that did not get through."""
    job.azure.misbehave("500")
    logger = job.logger(timeout=1.0)
    logger.log_metrics({"a": 1.0}, 0)
    full_at(job.spool().stat().st_size)
    with pytest.warns(UserWarning, match="cannot record metrics"):
        logger.log_metrics({"a": 1.0}, 1)
    full_at(None)
    logger.log_metrics({"a": 1.0}, 2)
    with pytest.warns(UserWarning, match="2 entries have not reached"):
        logger.finalize("success")
    assert not list(Path("outputs/azureml-metrics").glob("*.sent?*"))
