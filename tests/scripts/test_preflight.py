"""What is refused before anything is sent."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import preflight
from scripts.azure.job import DatastorePath, Job
from scripts.azure.preflight import Compute
from scripts.azure.snapshot import Snapshot
from tests.scripts.test_job import make_job


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ckpt_path", "last"], "--ckpt_path last in ARGS: a job starts without results of other runs"),
        (["--ckpt_path=best"], "--ckpt_path best in ARGS"),
        (["--trainer.devices", "2"], "write DEVICES=2"),
        (["--trainer.num_nodes=2"], "write NODES=2"),
        (["--trainer.default_root_dir", "results"], "default_root_dir results in ARGS: a job keeps only outputs/"),
    ],
)
def test_flags_that_mean_something_else_in_a_job_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        preflight.check_flags(make_job(*flags, nodes=2), "v1")
    preflight.check_flags(make_job("--trainer.devices", "2", "--ckpt_path", "lightning_cifar/last.ckpt"), "v1")


def test_a_file_that_is_not_sent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("images/sent.yaml", "left_out.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sent = Snapshot(tmp_path, {"images/sent.yaml": 0}, ())

    preflight.check_paths(["--config", "./images/sent.yaml", "--data.source", "images", "--ckpt_path", "no"], sent)
    for flags in (["--config=left_out.yaml"], ["--ckpt_path", str(tmp_path / "images/sent.yaml")]):
        with pytest.raises(UserError, match=r"--c\w+ \S+\.yaml exists here but is not sent"):
            preflight.check_paths(flags, sent)


@pytest.mark.parametrize(
    ("size", "accelerator", "gpu"),
    [
        ("STANDARD_NC6S_V3", "auto", True),
        ("Standard_ND96asr_v4", "gpu", True),
        ("STANDARD_NC6S_V3", "cpu", False),
        ("STANDARD_NP10s", "auto", False),
        ("STANDARD_DS3_V2", "auto", False),
        ("", "gpu", True),  # attached compute, of which nothing is known
        ("", "auto", False),
    ],
)
def test_gpus_are_used_where_the_size_has_them_and_the_flags_let_them(size: str, accelerator: str, gpu: bool) -> None:
    job = make_job("--trainer.accelerator", accelerator)

    assert preflight.check_compute(job, {"cpu-cluster": Compute(size, None)}, "mine") == gpu


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (make_job(compute="nope"), "no compute 'nope' in workspace mine; there is: cpu-cluster, gpu-cluster"),
        (make_job("--trainer.accelerator=gpu"), "cpu-cluster \\(STANDARD_DS3_V2\\) has no GPU.*with GPU: gpu-cluster"),
        (make_job(nodes=9), "cpu-cluster has at most 4 nodes, fewer than NODES=9; use 4"),
    ],
)
def test_a_compute_that_cannot_run_the_job_is_explained(job: Job, message: str) -> None:
    computes = {"cpu-cluster": Compute("STANDARD_DS3_V2", 4), "gpu-cluster": Compute("STANDARD_NC6S_V3", 4)}

    with pytest.raises(UserError, match=message):
        preflight.check_compute(job, computes, "mine")


def test_a_workspace_without_any_compute_is_answered_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"no compute 'cpu-cluster' .*; there is none yet: .* COMPUTE=serverless"):
        preflight.check_compute(make_job(), {}, "mine")


@pytest.mark.parametrize(
    ("held", "archive"), [("images/train/cat/0.png", False), ("images/cifar-10-python.tar.gz", True)]
)
def test_a_path_of_a_datastore_holds_images_the_archive_or_nothing(held: str, archive: bool) -> None:
    store = Mock(is_blob_storage=True, holds=held.startswith)

    assert preflight.check_data(store, DatastorePath("store", "images")) == archive
    with pytest.raises(UserError, match="nothing at store:no;"):
        preflight.check_data(store, DatastorePath("store", "no"))
