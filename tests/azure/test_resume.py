"""Where a restarted job goes on: from this disk, or from what its run has uploaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cifar.azure.resume import ResumeFromRun
from tests.azure.conftest import REPOSITORY

ASK = """
import sys
from lightning_cifar.azure.resume import ResumeFromRun
from lightning_cifar.errors import UserError
try:
    found = ResumeFromRun(fetch_seconds=float(sys.argv[1]))("outputs")
except UserError as error:
    sys.exit(str(error))
print(found, open(found).read() if found else "", "azureml.core" in sys.modules)
"""


def ask(azure, folder, seconds=30.0):
    env = azure.job_environment("run-1") | {"PYTHONPATH": str(REPOSITORY)}
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(seconds)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.stdout.split() if done.returncode == 0 else done.stderr.strip()


def checkpoint(folder, path, content, age):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (1_700_000_000 - age,) * 2)


def test_with_an_empty_disk_the_newest_version_is_fetched_whole_and_then_found_here(azure, tmp_path):
    azure.job_environment("run-1")
    for version in (0, 2, 10):
        path = f"outputs/cifar10/version_{version}/checkpoints/last.ckpt"
        azure.add_artifact("run-1", path, f"weights-{version}".encode())
    azure.add_artifact("run-1", "outputs/cifar10/version_11/checkpoints/best.ckpt", b"best")
    azure.add_artifact("run-1", "outputs/note.txt", b"other")
    azure.misbehave("500", on="artifacts", requests=1)
    found = "outputs/cifar10/version_10/checkpoints/last.ckpt"
    assert ask(azure, tmp_path / "node") == [found, "weights-10", "False"]
    assert [p.name for p in (tmp_path / "node").rglob("*") if p.is_file()] == ["last.ckpt"]
    asked = len(azure.requests)
    assert ask(azure, tmp_path / "node") == [found, "weights-10", "False"]
    assert len(azure.requests) == asked


def test_a_first_attempt_has_nothing_to_resume(azure, tmp_path):
    assert ask(azure, tmp_path / "node") == ["None", "False"]


def test_a_service_that_does_not_answer_is_an_error_and_no_new_start(azure, tmp_path):
    azure.job_environment("run-1")
    azure.add_artifact("run-1", "outputs/a/version_0/checkpoints/last.ckpt", b"weights")
    azure.misbehave("403", on="artifacts")
    message = ask(azure, tmp_path / "node", seconds=1.0)
    assert "cannot learn whether run run-1 has left a checkpoint" in message and len(message.splitlines()) == 1


def test_on_disk_the_highest_version_wins_and_the_latest_change_within_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    checkpoint(tmp_path, "a/version_2/checkpoints/last.ckpt", "old", age=0)
    checkpoint(tmp_path, "a/version_10/checkpoints/last.ckpt", "new", age=100)
    checkpoint(tmp_path, "b/version_10/checkpoints/last.ckpt", "newest", age=50)
    checkpoint(tmp_path, "b/version_10/checkpoints/last.ckpt.tmp", "half", age=0)
    assert Path(ResumeFromRun()(tmp_path)).read_text() == "newest"


@pytest.mark.parametrize("run_id", [None, "OfflineRun_1"])
def test_outside_a_job_nothing_is_resumed(tmp_path, monkeypatch, run_id):
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    if run_id:
        monkeypatch.setenv("AZUREML_RUN_ID", run_id)
    checkpoint(tmp_path, "a/version_2/checkpoints/last.ckpt", "old", age=0)
    assert ResumeFromRun()(tmp_path) is None
    assert not [name for name in sys.modules if name.startswith("azureml.")]
