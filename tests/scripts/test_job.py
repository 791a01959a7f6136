"""What is to be run, before any SDK hears of it."""

import argparse
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_cifar.errors import UserError
from scripts.azure import job
from scripts.azure.environment import EnvironmentSpec

NUMBERS = st.decimals(min_value=0, max_value=10_000, places=3, allow_nan=False)


def make_job(*flags: str, **more: object) -> job.Job:
    return job.Job(flags=flags, environment=EnvironmentSpec(name="any"), **more)  # type: ignore[arg-type]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
@example(["it's", "a b", "$HOME", "`id`", '"', "[1, 2]", "*", "ü", "a;b", "\\", "--x=y z", "", "-n"])
@settings(max_examples=30)
def test_every_flag_survives_the_shell_of_the_job(flags: list[str]) -> None:
    command = make_job(*flags).command("$DATA").replace("python -m lightning_cifar", r"printf '%s\0'", 1)

    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)

    assert done.stdout.decode().split("\0")[-len(flags) - 1 : -1] == flags


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
        (["--trainer.accelerator"], "auto"),
        ([], "auto"),
    ],
)
def test_the_accelerator_is_read_as_the_job_reads_it(flags: list[str], value: str) -> None:
    assert make_job(*flags).accelerator == value


@given(NUMBERS, st.sampled_from("smhd"))
def test_durations_are_whole_seconds_of_any_unit(number: object, unit: str) -> None:
    seconds = float(str(number)) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    for text in (f"{number}{unit}", f" {number}{unit.upper()} ", *([str(number)] if unit == "s" else [])):
        if seconds < 1:
            with pytest.raises(argparse.ArgumentTypeError):
                job.read_duration(text)
        else:
            assert seconds - 1 < job.read_duration(text) <= seconds


@given(st.text(max_size=6))
@example("3.5h")
@example("1e3s")
@example("٣h")
@example("inf")
@example("-1h")
@example("3 hours")
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    try:
        assert job.read_duration(text) >= 1
        assert text.strip()[0] in "0123456789"
    except argparse.ArgumentTypeError as error:
        assert "write for instance 3.5h" in str(error)


TAG = st.tuples(
    st.text(min_size=1, max_size=100).filter(lambda key: "=" not in key and key.strip()), st.text(max_size=1000)
)


@given(st.lists(TAG, max_size=50))
@settings(max_examples=30)
def test_tags_are_what_was_written_whatever_the_value(tags: list[tuple[str, str]]) -> None:
    read = job.read_tags([f"{key}={value}" for key, value in tags])

    assert read == {key.strip(): value for key, value in tags}


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["owner"], "KEY=VALUE"),
        (["=me"], "KEY=VALUE"),
        ([" =me"], "KEY=VALUE"),
        (["k" * 101 + "=v"], "100"),
        (["k=" + "v" * 1001], "1000"),
        ([f"k{n}=v" for n in range(51)], "50"),
    ],
)
def test_tags_that_the_service_would_refuse_are_refused_here(tags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        job.read_tags(tags)
