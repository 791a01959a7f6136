"""What is to be run, before any SDK hears of it."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_cifar.data import SOURCES
from lightning_cifar.errors import UserError
from scripts.azure import job
from scripts.azure.environment import EnvironmentSpec


def make_job(*flags: str, **more: object) -> job.Job:
    return job.Job(flags=flags, environment=EnvironmentSpec("any"), **more)  # type: ignore[arg-type]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
@example(["it's", "a b", "$HOME", "`id`", '"', "[1, 2]", "*", "ü", "a;b", "\\", "--x=y z", "", "-n"])
@settings(max_examples=30)
def test_every_flag_survives_the_shell_of_the_job(flags: list[str]) -> None:
    command = make_job(*flags).command("$DATA").replace("python -m lightning_cifar", r"printf '%s\0'", 1)

    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)

    assert done.stdout.decode().split("\0")[-len(flags) - 1 : -1] == flags


def test_a_source_that_training_knows_by_name_is_known_to_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "squares", "tests.squares:Squares")

    assert [job.read_data(name) for name in SOURCES] == ["cifar10", "synthetic", "squares"]


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (["--trainer.accelerator", "gpu"], "gpu"),
        (["--trainer.accelerator", "gpu", "--x", "1", "--trainer.accelerator=cpu"], "cpu"),
        (["--trainer.accelerator_x", "gpu"], "auto"),
        (["--trainer.accel", "gpu"], "auto"),
        (["--trainer.accelerator"], "auto"),
    ],
)
def test_the_accelerator_is_read_as_the_job_reads_it(flags: list[str], value: str) -> None:
    assert make_job(*flags).accelerator == value


def test_tags_are_pairs_whatever_the_value() -> None:
    assert job.read_tags(["owner=me", " why =a=b ", "empty="]) == {"owner": "me", "why": "a=b ", "empty": ""}
    for text in ("owner", "=me", " =me"):
        with pytest.raises(UserError, match="KEY=VALUE"):
            job.read_tags([text])
