"""Looking after runs: list, compare, download, register."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lightning_cifar.errors import UserError
from scripts.emulator import Emulator
from scripts.runs import read_flags
from tests.scripts.conftest import Outcome, call_all, make_project

_LOG = """
from azureml.core import Run
run = Run.get_context()
for step in range(1, 6):
    run.log("loss", {scale} / step, step=step * 100)
run.log("val_acc", {scale} / 10, step=500)
run.flush()
"""
NAMES = ("first", "second")


@pytest.fixture(scope="module")
def service() -> Emulator:
    """An emulator with two runs that have metrics and checkpoints."""
    with Emulator() as service:
        jobs = [
            subprocess.Popen([sys.executable, "-c", _LOG.format(scale=scale)], env=service.job_environment(name))
            for scale, name in enumerate(NAMES, start=2)
        ]
        assert [job.wait(60) for job in jobs] == [0, 0]
        for name in NAMES:
            checkpoints = "outputs/cifar10/version_0/checkpoints"
            service.add_artifact(name, f"{checkpoints}/best.ckpt", b"best of " + name.encode())
            service.add_artifact(name, f"{checkpoints}/last.ckpt", b"last")
            service.add_artifact(name, "logs/log.txt", b"")
        service.job_environment("third")
        yield service


@pytest.fixture(scope="module")
def outcomes(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """The commands, carried out one after the other."""
    project = make_project(tmp_path_factory.mktemp("runs") / "project")
    service.write_config(project)
    calls = {
        "list": ["list"],
        "list two": ["list", "-n", "2"],
        "list elsewhere": ["list", "--experiment", "no"],
        "compare": ["compare", *NAMES],
        "compare one metric": ["compare", *NAMES, "--metric", "val_acc", "--to", "deep/acc.png"],
        "compare nothing": ["compare", *NAMES, "--metric", "hamsters"],
        "download": ["download", "first"],
        "register": ["register", "second", "--name", "net"],
        "register nothing": ["register", "third"],
        "no such run": ["watch", "fourth"],
        "no such command": ["dance"],
    }
    results = call_all([("runs", args) for args in calls.values()], project, service.client_environment())
    return project, dict(zip(calls, results, strict=True))


def test_list_shows_status_and_final_metrics(outcomes: tuple[Path, dict[str, Outcome]]) -> None:
    outcome = outcomes[1]["list"]

    assert outcome.code == 0, outcome.err
    rows = {line.split("│")[1].strip(): line for line in outcome.out.splitlines() if line.startswith("│")}
    assert rows.keys() == {*NAMES, "third"}
    assert [cell.strip() for cell in rows["second"].split("│")[-3:-1]] == ["0.3", "0.6"]
    assert "Running" in rows["second"]
    assert len([line for line in outcomes[1]["list two"].out.splitlines() if line.startswith("│")]) == 2


def test_compare_draws_the_curves_of_several_runs(outcomes: tuple[Path, dict[str, Outcome]]) -> None:
    project, results = outcomes

    for name, file in (("compare", "downloads/comparison.png"), ("compare one metric", "deep/acc.png")):
        assert results[name].code == 0, results[name].err
        with Image.open(project / file) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20


def test_download_brings_the_outputs_and_only_them(outcomes: tuple[Path, dict[str, Outcome]]) -> None:
    project, results = outcomes

    assert results["download"].code == 0, results["download"].err
    folder = project / "downloads" / "first"
    assert (folder / "outputs/cifar10/version_0/checkpoints/best.ckpt").read_bytes() == b"best of first"
    assert not (folder / "logs").exists()


def test_register_makes_a_model_of_the_best_checkpoint(
    service: Emulator, outcomes: tuple[Path, dict[str, Outcome]]
) -> None:
    assert outcomes[1]["register"].code == 0, outcomes[1]["register"].err
    (model,) = service.models()
    assert model.name == "net"
    assert "best.ckpt is" not in outcomes[1]["register"].err
    assert "best.ckpt of run second" in outcomes[1]["register"].out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("list elsewhere", "no experiment 'no' in workspace emulator; there is: cifar10"),
        ("compare nothing", "metric hamsters"),
        ("register nothing", "run third left no checkpoint"),
        ("no such run", "not found: run fourth"),
        ("no such command", "invalid choice: 'dance'"),
    ],
)
def test_what_is_not_there_is_named(outcomes: tuple[Path, dict[str, Outcome]], name: str, message: str) -> None:
    outcome = outcomes[1][name]

    assert outcome.code == 1
    assert message in outcome.last
    assert len(outcome.err.splitlines()) == 1


def test_make_compare_without_runs_says_what_is_missing() -> None:
    with pytest.raises(UserError, match='no runs to compare: make compare RUNS="ID ID"'):
        read_flags(["compare"])
