"""Looking after runs, above any SDK: list, compare, download, register."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

from lightning_cifar.errors import UserError
from scripts import runs
from scripts.azure.submitter import Point
from scripts.azure.workspace import Address
from tests.scripts.fakes import LOG, FakeRun, details

CHECKPOINTS = "outputs/cifar10/version_{}/checkpoints"


@pytest.fixture
def known(here: Mock) -> dict[str, FakeRun]:
    """Two runs with metrics; a third has none."""
    known = {name: FakeRun(name, [details("Running", LOG)]) for name in ("first", "second", "third")}
    here.connect.return_value = Mock(open=known.get, runs=lambda experiment, number: list(known.values())[:number])
    for scale, run in enumerate(list(known.values())[:2], start=2):
        run.curves = {"loss": [Point(step * 100, scale / step) for step in range(1, 6)]}
        run.curves |= {
            "val_acc": [Point(250, 0.1), Point(500, scale / 10)],
            "lr": [Point(step, 0.1) for step in range(5)],
        }
        run.artifacts = {f"{CHECKPOINTS.format(0)}/{name}.ckpt": name.encode() for name in ("best", "last")}
    return known


def test_compare_draws_the_curves_of_several_runs(known: dict[str, FakeRun], project: Path) -> None:
    known["first"].display_name = known["second"].display_name = "the same"

    assert runs.main(["compare", "first", "second"]) == 0
    assert runs.main(["compare", "first", "second", "--metric", "val_acc", "--to", "deep/acc.png"]) == 0

    sizes = []
    for file in ("downloads/comparison.png", "deep/acc.png"):
        with Image.open(project / file) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20
            sizes.append(picture.width)
    assert sizes[0] > 1.5 * sizes[1]  # loss and val_acc, without lr
    with pytest.raises(UserError, match="none of these runs has a metric hamsters"):
        runs.main(["compare", "first", "--metric", "hamsters"])


def test_an_output_whose_name_leads_out_of_the_folder_is_not_fetched(known: dict[str, FakeRun], project: Path) -> None:
    known["second"].artifacts["outputs/../../../x"] = b""
    with pytest.raises(UserError, match=r"names an output 'outputs/\.\./.*x', which leads elsewhere"):
        runs.main(["download", "second"])
    assert not (project / "downloads").exists()


def test_commands_without_a_run_take_the_one_submitted_last(
    known: dict[str, FakeRun], project: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(UserError, match="no run has been submitted from here yet"):
        runs.main(["download"])
    Address("s", "g", "w", project / ".azureml").remember("second", "cifar10", "https://ml.azure.com", "v1")

    runs.main(["download"])
    runs.main(["cancel"])

    assert (project / "downloads" / "second" / CHECKPOINTS.format(0) / "best.ckpt").read_bytes() == b"best"
    assert [run.canceled for run in known.values()] == [False, True, False]
    assert runs.main(["watch"]) == 130


@pytest.mark.parametrize(
    ("artifacts", "chosen"),
    [
        (["version_9/best.ckpt", "version_10/last.ckpt"], "version_9/best.ckpt"),
        (["version_9/last.ckpt", "version_10/last.ckpt"], "version_10/last.ckpt"),
        (["version_9/last.ckpt", "version_9/.unfinished-1f-last.ckpt"], "version_9/last.ckpt"),
    ],
)
def test_register_takes_the_best_checkpoint_of_the_highest_version(
    known: dict[str, FakeRun], capsys: pytest.CaptureFixture, artifacts: list[str], chosen: str
) -> None:
    known["third"].artifacts = {f"outputs/cifar10/{name}": b"" for name in artifacts} | {"logs/version_99.ckpt": b""}

    assert runs.main(["register", "third", "--name", "net"]) == 0

    assert known["third"].models == [("net", f"outputs/cifar10/{chosen}")]
    assert f"model net, version 1, is outputs/cifar10/{chosen} of run third" in capsys.readouterr().out


def test_what_cannot_be_done_is_named(known: dict[str, FakeRun]) -> None:
    with pytest.raises(UserError, match="run third left no checkpoint under outputs/"):
        runs.main(["register", "third"])
    with pytest.raises(UserError, match="run third has no files under outputs/; `make watch RUN=third` shows"):
        runs.main(["download", "third"])
    with pytest.raises(UserError, match='no runs to compare: make compare RUNS="ID ID"'):
        runs.main(["compare"])
    with pytest.raises(UserError, match="invalid choice: 'dance'"):
        runs.main(["dance"])
