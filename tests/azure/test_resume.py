"""Where a restarted job goes on: from this disk, or from what its run has uploaded."""

import os
import sys
from pathlib import Path

import pytest

from lightning_cifar.azure.resume import ResumeFromRun
from lightning_cifar.errors import UserError

NEWEST = "outputs/cifar10/version_10/checkpoints/last.ckpt"
BEST = "outputs/cifar10/version_3/checkpoints/best.ckpt"
ARTIFACTS = {
    **{f"outputs/cifar10/version_{v}/checkpoints/last.ckpt": f"weights-{v}".encode() for v in (9, 10, 2)},
    BEST: b"best",
    "elsewhere/version_12/checkpoints/last.ckpt": b"of another folder",
    "outputs/../../version_13/checkpoints/last.ckpt": b"would be written outside",
    "outputs/note.txt": b"other",
}


def checkpoint(folder, path, content, age):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (1_700_000_000 - age,) * 2)


@pytest.mark.parametrize("arguments", [{}, {"pattern": "**/checkpoints/last.ckpt"}])
def test_on_disk_the_highest_version_wins_and_the_latest_change_within_it(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    checkpoint(tmp_path, "a/version_2/checkpoints/last.ckpt", "old", age=0)
    checkpoint(tmp_path, "a/version_10/checkpoints/last.ckpt", "new", age=100)
    checkpoint(tmp_path, "b/version_10/checkpoints/last.ckpt", "newest", age=50)
    checkpoint(tmp_path, "b/version_10/checkpoints/last.ckpt.tmp", "half", age=0)
    assert Path(ResumeFromRun(**arguments)(tmp_path)).read_text() == "newest"


def test_outside_a_job_nothing_is_resumed(tmp_path, monkeypatch):
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    checkpoint(tmp_path, "a/version_2/checkpoints/last.ckpt", "old", age=0)
    assert ResumeFromRun()(tmp_path) is None


@pytest.mark.parametrize("job", ["v1", "mlflow"], indirect=True)
def test_in_a_job_the_run_is_asked_in_a_process_of_its_own_and_the_disk_the_next_time(job):
    before = set(sys.modules)
    for path, content in ARTIFACTS.items():
        job.add_artifact("run-1", path, content)
    job.misbehave("500", on="artifacts", requests=1)
    assert ResumeFromRun()("outputs") == NEWEST and Path(NEWEST).read_bytes() == b"weights-10"
    assert Path(BEST).read_bytes() == b"best", "the network that those of the resumed run are compared with"
    requests = len(job.requests)
    assert ResumeFromRun()("outputs") == NEWEST and len(job.requests) == requests
    assert not [name for name in set(sys.modules) - before if name.startswith("azureml.")]
    Path(NEWEST).unlink()
    job.misbehave("403", on="artifacts")
    with pytest.raises(UserError, match="cannot learn whether run run-1 has left a checkpoint"):
        ResumeFromRun(fetch_seconds=0.0)("outputs")
    assert not Path(NEWEST).exists(), "nothing is left that a next start would take for it"
