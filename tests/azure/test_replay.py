"""What did not get through is sent later, and each point is there once."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cifar.azure import replay
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import pending, sent_file
from lightning_cifar.errors import UserError
from tests.azure.conftest import FAKE, REPOSITORY, write_record
from tests.deadline import deadline, wait_until

POINTS = [("loss", step, step / 7) for step in range(100)]
SECONDS = deadline(30.0)
# Written by the code of commit 1f03004, before records named their backend.
OLD_RECORD = Path(__file__).with_name("records") / "old-metrics.jsonl"


def test_called_twice_and_without_what_was_confirmed_each_point_is_there_once(fake, record):
    fake.script("log", "500", "lost")
    assert "has everything" in (done := replay.replay(record, SECONDS)) and "100 entries were missing" in done
    assert "0 entries were missing" in replay.replay(record, SECONDS)
    sent_file(record).unlink()  # as for a file fetched from the run's outputs
    assert "100 entries were missing or unconfirmed" in replay.replay(record, SECONDS)
    assert fake.points() == POINTS


def test_a_record_of_an_older_version_is_sent_from_where_it_was_confirmed(fake, tmp_path, monkeypatch):
    for path in OLD_RECORD.parent.iterdir():
        shutil.copy(path, tmp_path)
    record = tmp_path / OLD_RECORD.name
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps({"backends": {"_BACKENDS": {"v1": FAKE}}}))
    assert "3 entries were missing" in replay.replay(record, SECONDS)
    assert fake.points() == [("acc", 2, 2 / 3), ("loss", 2, 2 / 7)]
    assert fake.read("rows") == [["hyperparameters", {"name": "lr", "value": "0.1"}]]


def test_interrupted_and_called_again_each_point_is_there_once(fake, tmp_path):
    record = write_record(tmp_path / "a.jsonl", 100)
    fake.script("log", "hang")
    command = [sys.executable, "-m", "lightning_cifar.azure.replay", "--backend", FAKE, str(record)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.DEVNULL)
    wait_until(lambda: fake.calls("log"))
    process.send_signal(signal.SIGINT)
    assert process.wait(deadline(10)) != 0
    assert not fake.points()
    replay.replay(record, SECONDS)
    assert fake.points() == POINTS


def test_what_the_service_does_not_take_in_time_is_an_error_with_the_number_and_the_cause(fake, record):
    fake.script("open", "503", "hang*")
    with pytest.raises(UserError, match=r"100 entries of .* are not yet at run run-1 .*: run this again"):
        replay.replay(record, 0.5)
    assert pending(record) == 100


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ('{"metric": "loss", "va', "its last line was cut off"),
        (
            entry_line({"metric": "one too many", "value": 1.0, "step": 0, "time": 0}),
            r"1 entries were not sent \(no room for another name in the run\), such as one too many",
        ),
        (
            entry_line({"metric": "loss", "value": "nan", "step": 100, "time": 0, "skip": "not finite"}),
            r"1 entries were not sent \(not finite\), such as loss",
        ),
        (
            entry_line({"file": "a.txt", "path": "a.txt"}),
            r"1 entries were not sent \(its file is gone: sent before, or deleted\), such as a.txt",
        ),
    ],
    ids=["cut", "one name too many", "skipped by an older version", "missing file"],
)
def test_what_cannot_be_sent_is_mentioned_and_the_others_are_sent(fake, record, last, says):
    fake.append("points", *(["run-1", f"m{number}", 0, 1.0] for number in range(49)))
    with record.open("a") as file:
        file.write(last)
    assert re.search(says, replay.replay(record, SECONDS))
    assert [point for point in fake.points() if point[0][0] != "m"] == POINTS


def test_the_command_line_replays_each_file_though_another_cannot_be(fake, record, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["replay", "a.jsonl", str(record), "b.jsonl"])
    with pytest.raises(SystemExit) as ended:
        replay.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 1 and "has everything" in out and fake.points() == POINTS
    assert re.findall(r"(\w.jsonl) is not a file of AzureMLLogger's", err) == ["a.jsonl", "b.jsonl"]
