"""What is refused before anything is sent."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import preflight
from scripts.azure.preflight import Compute
from scripts.azure.snapshot import Snapshot
from tests.scripts.test_job import make_job


@pytest.mark.parametrize("flags", [["--ckpt_path", "last"], ["--ckpt_path=best"]])
def test_what_only_this_machine_has_is_not_resumed_from(flags: list[str]) -> None:
    with pytest.raises(UserError, match=r"--ckpt_path (last|best) in ARGS: a job starts without the results"):
        preflight.check_flags(make_job(*flags))
    preflight.check_flags(make_job("--ckpt_path", "lightning_cifar/last.ckpt"))


@pytest.mark.parametrize("flags", [["--trainer.devices", "2"], ["--trainer.num_nodes=2"]])
def test_flags_that_contradict_nodes_and_devices_are_refused(flags: list[str]) -> None:
    with pytest.raises(UserError, match=r"write (DEVICES|NODES)=2"):
        preflight.check_flags(make_job(*flags, nodes=2))
    preflight.check_flags(make_job("--trainer.devices", "2"))


def test_a_file_that_is_not_sent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sent.yaml", "left_out.yaml"):
        Path(name).touch()
    sent = Snapshot(tmp_path, {"sent.yaml": 0}, ())

    preflight.check_paths(["--config", "sent.yaml", "--ckpt_path", "last"], sent)
    with pytest.raises(UserError, match=r"--config left_out\.yaml exists here but is not sent"):
        preflight.check_paths(["--config=left_out.yaml"], sent)
    with pytest.raises(UserError, match="only files of the project"):
        preflight.check_paths(["--ckpt_path", str(tmp_path / "sent.yaml")], sent)


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


def test_a_workspace_without_compute_says_so() -> None:
    with pytest.raises(UserError, match="no compute 'cpu-cluster' in workspace mine; there is: none"):
        preflight.check_compute(make_job(), {}, "mine")
