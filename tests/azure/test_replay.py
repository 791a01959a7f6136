"""What did not get through is sent later, and each point is there once."""

import signal
import subprocess
import sys

import pytest
from PIL import Image

from lightning_cifar.azure.outbox import Outbox, pending
from lightning_cifar.azure.run import RunAddress
from tests.azure.conftest import REPOSITORY, wait_until

ADDRESS = {
    "experiment": "cifar10",
    "interactive": False,
}


@pytest.fixture
def record(azure, tmp_path):
    """A record of 1,000 points, of which nothing was sent."""
    azure.job_environment("run-1")  # makes the run
    workspace = azure.workspace
    address = RunAddress("run-1", "cifar10", workspace.name, workspace.resource_group, workspace.subscription_id)
    spool = Outbox(tmp_path / "record-metrics.jsonl", address)
    for step in range(1000):
        spool.append(f'{{"metric": "loss", "value": {step / 7}, "step": {step}, "time": 0}}\n')
    return spool.path


def replay(file, env, *others):
    command = [sys.executable, "-m", "lightning_cifar.azure.replay", str(file), *map(str, others)]
    return subprocess.Popen(
        command,
        env=env | {"PYTHONPATH": str(REPOSITORY)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process):
    out, err = process.communicate(timeout=150)
    return process.returncode, out.strip(), err.strip()


def points(azure):
    return sorted((m.step, m.value) for m in azure.metrics("run-1"))


EXPECTED = [(step, step / 7) for step in range(1000)]


def test_from_a_laptop_twice_and_after_answers_were_lost_each_point_is_there_once(azure, record):
    azure.misbehave("store-and-drop", on="/batch", requests=2)
    env = azure.client_environment()
    code, out, err = finish(replay(record, env))
    assert code == 0, err
    assert "1000 entries" in out
    assert points(azure) == EXPECTED
    assert finish(replay(record, env))[0] == 0
    record.with_name(record.name + ".sent").unlink()  # as for a file fetched from the run's outputs
    assert finish(replay(record, env))[0] == 0
    assert points(azure) == EXPECTED


def test_interrupted_and_called_again_each_point_is_there_once(azure, record):
    azure.misbehave("latency", on="/batch", delay=0.4)
    env = azure.client_environment()
    process = replay(record, env)
    wait_until(lambda: azure.metrics("run-1"), seconds=30)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] != 0
    assert 0 < len(azure.metrics("run-1")) < 1000
    azure.behave()
    code, _, err = finish(replay(record, azure.client_environment()))  # as on another machine: no turns to wait for
    assert code == 0, err
    assert points(azure) == EXPECTED


def test_a_cut_last_line_is_named_and_the_others_are_sent(azure, record):
    with record.open("a") as file:
        file.write('{"metric": "loss", "va')
    code, out, err = finish(replay(record, azure.client_environment()))
    assert code == 0 and "cut off" in out, err
    assert points(azure) == EXPECTED


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_text('{"loss": 1}\n'), "is not a file of AzureMLLogger's"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n"), "is not a file of AzureMLLogger's"),
        (
            lambda path: path.write_text(path.read_text().replace('{"metric": "loss"', "garbage", 1)),
            "is damaged",
        ),
    ],
    ids=["missing", "foreign", "binary", "damaged"],
)
def test_a_file_that_cannot_be_sent_is_a_line_that_says_why(azure, record, damage, message):
    damage(record)
    code, _, err = finish(replay(record, azure.client_environment()))
    assert code == 1 and message in err and len(err.splitlines()) == 1
    assert not azure.metrics("run-1")


def test_a_file_of_another_run_is_refused_inside_a_job(azure, record):
    code, _, err = finish(replay(record, azure.job_environment("run-2")))
    assert code == 1 and "belongs to run run-1, and this job is run run-2" in err and len(err.splitlines()) == 1


def test_a_file_whose_run_is_unknown_to_the_workspace_says_so(azure, record):
    record.write_text(record.read_text().replace('"run-1"', '"run-9"', 1))
    code, _, err = finish(replay(record, azure.client_environment()))
    assert code == 1 and "run run-9 is not in workspace" in err and len(err.splitlines()) == 1
    assert pending(record) == 1000


def test_files_that_are_missing_are_named_until_they_are_there(azure, record):
    header = record.read_text().splitlines()[0]
    media = record.with_name("record-media.jsonl")
    entries = ['{"file": "texts/a.txt", "path": "texts/a.txt"}', '{"image": "i", "path": "images/i.png"}']
    media.write_text("\n".join([header, *entries]) + "\n")
    env = azure.client_environment()
    code, out, err = finish(replay(media, env))
    assert code == 1 and not out and len(err.splitlines()) == 1
    assert "2 files of" in err and "'texts/a.txt'" in err and "record-media-files" in err
    for path in ("texts/a.txt", "images/i.png"):
        file = record.with_name("record-media-files") / path
        file.parent.mkdir(parents=True)
        Image.new("L", (1, 1)).save(file, "PNG")
    code, out, err = finish(replay(media, env))
    assert code == 0 and "has everything" in out, err
    assert set(azure.artifacts("run-1")) == {"texts/a.txt", "images/i.png"}


def test_each_of_several_records_is_replayed_though_another_cannot_be(azure, tmp_path):
    code, _, err = finish(replay(tmp_path / "a.jsonl", azure.client_environment(), tmp_path / "b.jsonl"))
    assert code == 1 and [line.split("/")[-1].split(":")[0] for line in err.splitlines()] == [
        "a.jsonl does not exist",
        "b.jsonl does not exist",
    ]
