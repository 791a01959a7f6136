"""What is to be run, before any SDK hears of it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import job, preflight
from scripts.azure.environment import Recipe, requirement_lines
from scripts.azure.snapshot import Snapshot

RECIPE = Recipe(name="any")


def make_job(*flags: str, **more: object) -> job.Job:
    return job.Job(flags=flags, environment=RECIPE, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["it's", "a b", "$HOME", "`id`", '"', "[1, 2]", "*", "ü", "a;b", "\\", "--x=y z"])
def test_every_flag_survives_the_shell_of_the_job(flag: str) -> None:
    command = make_job("--x", flag).command("$DATA").replace("python -m lightning_cifar", f"{sys.executable} -c ''")
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    command = command.replace("-c ''", f"-c '{show}'")

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)[-2:] == ["--x", flag]


def test_the_users_flags_come_last_and_unchanged() -> None:
    flags = ("--trainer.max_epochs", "5", "--data.source=elsewhere")

    arguments = make_job(*flags, nodes=2, devices=4).arguments("/mnt")

    assert tuple(arguments[-3:]) == flags
    assert arguments[:3] == ["fit", "--trainer.default_root_dir", "outputs"]
    scale = ["--trainer.num_nodes", "2", "--trainer.devices", "4", "--trainer.strategy", "ddp"]
    assert " ".join(scale) in " ".join(arguments)


def test_a_datastore_path_is_unquoted_so_that_the_job_can_replace_it() -> None:
    images = make_job(data=job.DatastorePath("store", "images")).command("$FOLDER")
    archive = make_job(data=job.DatastorePath("store", "cifar"), data_is_archive=True).command("$FOLDER")

    assert "--data.source $FOLDER" in images
    assert "--data.source cifar10 --data.data_dir $FOLDER" in archive


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (["--trainer.accelerator", "gpu"], "gpu"),
        (["--trainer.accelerator=gpu"], "gpu"),
        (["--trainer.accelerator", "gpu", "--x", "1", "--trainer.accelerator", "cpu"], "cpu"),
        (["--trainer.accelerator_x", "gpu"], "auto"),
        (["--trainer.accel", "gpu"], "auto"),
        ([], "auto"),
    ],
)
def test_the_accelerator_is_read_as_the_job_reads_it(flags: list[str], value: str) -> None:
    assert job.flag_value(flags, "--trainer.accelerator", "auto") == value


@pytest.mark.parametrize(("text", "seconds"), [("3.5h", 12600), ("90m", 5400), ("1d", 86400), ("600", 600), ("2s", 2)])
def test_durations(text: str, seconds: int) -> None:
    assert job.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.1s", "-1h", "h", "3 hours", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"3\.5h"):
        job.read_duration(text)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["owner"], "KEY=VALUE"),
        (["=me"], "KEY=VALUE"),
        (["k" * 101 + "=v"], "100"),
        (["k=" + "v" * 1001], "1000"),
        ([f"k{n}=v" for n in range(51)], "50"),
    ],
)
def test_tags_that_the_service_would_refuse_are_refused_here(tags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        job.read_tags(tags)


@pytest.mark.parametrize("flags", [["--ckpt_path", "last"], ["--ckpt_path=best"]])
def test_what_only_this_machine_has_is_not_resumed_from(flags: list[str]) -> None:
    with pytest.raises(UserError, match=r"--ckpt_path (last|best) in ARGS: a job starts without the results"):
        job.check_checkpoint(flags)
    job.check_checkpoint(["--ckpt_path", "lightning_cifar/last.ckpt"])


@pytest.mark.parametrize("flags", [["--trainer.devices", "2"], ["--trainer.num_nodes=2"]])
def test_flags_that_contradict_nodes_and_devices_are_refused(flags: list[str]) -> None:
    with pytest.raises(UserError, match=r"write (DEVICES|NODES)=2"):
        job.check_scale(flags, distributed=True)


def test_a_file_that_is_not_sent_is_named_before_submitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sent.yaml", "left_out.yaml"):
        Path(name).touch()
    sent = Snapshot(tmp_path, {"sent.yaml": 0}, ())

    preflight.check(["--config", "sent.yaml", "--ckpt_path", "last"], sent)
    with pytest.raises(UserError, match=r"--config left_out\.yaml exists here but is not sent"):
        preflight.check(["--config=left_out.yaml"], sent)
    with pytest.raises(UserError, match="only files of the project"):
        preflight.check(["--ckpt_path", str(tmp_path / "sent.yaml")], sent)


def test_the_environments_name_changes_with_what_it_is_made_of_and_only_then(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"

    def name(text: str, gpu: bool = False, image: str | None = None) -> str:
        file.write_text(text)
        return Recipe(requirements=file, image=image).built_name(gpu)

    first = name("torch==2.11.0\n")
    assert name("# why\n\ntorch==2.11.0  # this one\n") == first
    others = {name("torch==2.12.0"), name("torch==2.11.0", gpu=True), name("torch==2.11.0", image="mine:1")}
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch==2.11.0\ntorch==", "line 2"),
        ("torch 2.11", "line 1"),
        ("-r other.txt", "file of this machine"),
        ("./wheel.whl", "file of this machine"),
        ("--extra-index-url https://me:secret@host/simple\ntorch", "password"),
        ("# nothing\n", "names no package"),
    ],
)
def test_requirements_that_mean_nothing_elsewhere_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)

    with pytest.raises(UserError, match=message) as error:
        requirement_lines(file)

    assert "secret" not in str(error.value)
