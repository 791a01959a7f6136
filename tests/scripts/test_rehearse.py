"""Rehearsing a job: the real training on two nodes that share no files, and what a rehearsal refuses or finds."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.azure.outbox import read_header
from lightning_cifar.errors import UserError
from scripts import rehearse
from scripts.azure.workspace import SDKS
from scripts.emulator import Emulator
from scripts.emulator.records import Metric, MetricSeries
from tests.conftest import make_folder
from tests.scripts.command_lines import call
from tests.scripts.conftest import ROOT, make_project

_PROBE = '''
"""Written by a test: notes which images each process trains on, and what it is tested with."""

import hashlib, json, os, pathlib
from pytorch_lightning import Callback

class Probe(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.seen += [hashlib.md5(image.cpu().numpy().tobytes()).hexdigest() for image in batch[0]]

    def on_test_end(self, trainer, module):
        weights = b"".join(value.cpu().numpy().tobytes() for value in module.net.state_dict().values())
        folder = pathlib.Path("outputs/probe")
        folder.mkdir(exist_ok=True)
        (folder / f"{trainer.global_rank}.json").write_text(json.dumps({
            "world_size": trainer.world_size,
            "seen": self.seen,
            "tested": hashlib.md5(weights).hexdigest(),
            "checkpoint": str(trainer.ckpt_path),
            "here": pathlib.Path(str(trainer.ckpt_path)).exists(),
        }))
'''
IMAGES = 3 * 40 - 30
_FLAGS = [
    *("--nodes", "2", "--data", "images", "--download", "--", "--data.batch_size", "5", "--data.val_size", "30"),
    *("--trainer.max_epochs", "1", "--trainer.callbacks+=probe.Probe"),
]


@pytest.mark.parametrize("sdk", SDKS)
def test_two_nodes_share_the_images_and_the_best_checkpoint_and_every_metric_arrives_once(
    tmp_path: Path, sdk: str
) -> None:
    project = make_project(tmp_path / "project", package=ROOT / "lightning_cifar")
    (project / "probe.py").write_text(_PROBE)
    make_folder(project / "images", ("blue", "green", "red"), 40, 4)

    outcome = call(
        "rehearse", ["--sdk", sdk, *_FLAGS], project, {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    )

    assert (outcome.code, outcome.err) == (0, ""), outcome.out[-3000:] + outcome.err
    assert "mount namespaces" in outcome.out or "unguessable paths" in outcome.out
    (folder,) = (project / "downloads").glob("*/outputs/probe")
    records = list(folder.parent.glob("azureml-metrics/*-metrics.jsonl"))
    assert {read_header(record).backend for record in records} == {{"v1": "v1", "v2": "mlflow"}[sdk]}
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["world_size"] == second["world_size"] == 2
    assert len(first["seen"]) == len(second["seen"]) == IMAGES // 2
    assert len({*first["seen"], *second["seen"]}) == IMAGES
    assert first["tested"] == second["tested"]
    assert first["checkpoint"].endswith("best.ckpt")
    assert (first["here"], second["here"]) == (True, False)
    table = dict(re.findall(r"│ (\w+) +│ +(\d+) │", outcome.out))
    assert table["loss"] == "9"  # a window of one batch
    assert table["val_acc"] == table["test_acc"] == "1"
    assert (project / "downloads" / "rehearsal.png").stat().st_size > 10_000


_SLOW = """
import time
from pytorch_lightning import Callback

class Slow(Callback):
    def on_train_batch_end(self, *_):
        time.sleep(0.2)
"""


@pytest.mark.parametrize("sdk", SDKS)
def test_a_job_whose_nodes_are_taken_away_twice_leaves_what_the_undisturbed_one_does(tmp_path: Path, sdk: str) -> None:
    project = make_project(tmp_path / "project", package=ROOT / "lightning_cifar")
    (project / "slow.py").write_text(_SLOW)
    make_folder(project / "images", ("blue", "green", "red"), 40, 4)
    flags = ["--sdk", sdk, "--preempt", "2", "--nodes", "2", "--data", "images", "--", "--trainer.max_epochs", "3"]
    flags += ["--data.batch_size", "5", "--data.val_size", "30", "--trainer.callbacks+=slow.Slow"]

    outcome = call("rehearse", flags, project, {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"})

    assert (outcome.code, outcome.err) == (0, ""), outcome.out[-3000:] + outcome.err
    assert re.findall(r"rehearsal: took the job's nodes away in .*, (.*)", outcome.out) == [
        "with notice",
        "without notice",
    ]
    shown = dict(re.findall(r"^  (\w+ \w+(?: \w+)?)  +(.+)$", outcome.out.partition("compared with")[2], re.MULTILINE))
    assert shown["nodes taken away"] == "2" and shown["final weights"] == "the same"
    assert shown["points doubled"] == shown["points missing"] == "0"
    assert len(set(re.findall(r"\d+", shown["metric points"]))) == 1


def test_a_module_that_the_snapshot_lacks_fails_the_job_though_the_checkout_has_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    main = project / "lightning_cifar" / "__main__.py"
    main.write_text("from lightning_cifar.errors import UserError\n" + main.read_text())
    with (project / ".amlignore").open("a") as ignore:
        ignore.write("/lightning_cifar/errors.py\n")

    outcome = call("rehearse", [], project, {**os.environ, "PYTHONPATH": str(ROOT)})

    assert outcome.code == 1
    assert "No module named 'lightning_cifar.errors'" in outcome.out
    assert "the job failed" in outcome.last


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Rehearses with a submission that leaves no more than a run of this `status`, in which losses arrived at `steps`.

    The function returns what the submission was given.
    """

    def rehearsed(*words: str, status: str = "Completed", steps: Sequence[int] = (1,), code: int = 0) -> list[str]:
        given: list[str] = []

        def submit(azure: Emulator, arguments: Sequence[str]) -> int:
            given.extend(arguments)
            values = [Metric("loss", step, 1.0 / step, 0.0, {}, "", "", "") for step in steps]
            series = {"loss": MetricSeries({"loss": "double"}, "", values)}
            azure.state.add_run("run-1", "cifar10", status=status, metrics=series)
            return code

        monkeypatch.setattr(rehearse, "submit", submit)
        assert rehearse.main(["--to", str(tmp_path / "curves.png"), *words]) == code
        return given

    return rehearsed


def test_takes_the_flags_of_submit_and_provides_the_compute_environment_and_data_they_name(
    rehearsed, tmp_path: Path
) -> None:
    make_folder(tmp_path / "images", ("a", "b"), 1, 1)
    words = ["--nodes", "5", "--compute", "mine", "--environment", "env:3", "--data", str(tmp_path / "images")]

    given = rehearsed(*words, "--tag", "a=b", "--", "--trainer.max_epochs", "1")

    assert " ".join(given[2:]) == (
        "--wait --data workspaceblobstore:rehearsal --data-mode mount "
        "--compute mine --environment env:3 --nodes 5 --tag a=b -- --trainer.max_epochs 1"
    )
    assert (tmp_path / "curves.png").exists()


@pytest.mark.parametrize(
    ("words", "outcome", "message"),
    [
        ([], {"steps": ()}, "no metric arrived; is AzureMLLogger among the loggers"),
        ([], {"steps": (), "status": "Failed", "code": 1}, "the job failed, as said above"),
        ([], {"steps": (1, 2, 2)}, "loss of step 2 arrived more than once"),
        (["--data", "cifar10"], {}, "a rehearsal downloads nothing"),
        (["--data", "nowhere"], {}, "nowhere does not exist"),
        (["--data", "azureml:mine@latest"], {}, "a rehearsal has no data assets; give the folder it was"),
    ],
)
def test_what_goes_wrong_fails_the_rehearsal(rehearsed, words: list[str], outcome: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rehearsed(*words, **outcome)


def test_a_request_that_the_emulator_did_not_expect_fails_the_rehearsal(rehearsed, monkeypatch) -> None:
    monkeypatch.setattr(Emulator, "unexpected", ["GET example.com"])

    with pytest.raises(UserError, match=r"rehearsal: the emulator did not expect GET example\.com"):
        rehearsed()


def test_debugging_reaches_the_submission_and_nothing_else_of_the_environment_does(monkeypatch) -> None:
    monkeypatch.setenv("LIGHTNING_CIFAR_DEBUG", "1")
    monkeypatch.setenv("SECRET", "s3cret")
    started = Mock(return_value=Mock(wait=lambda: 0))
    monkeypatch.setattr(rehearse.subprocess, "Popen", started)

    rehearse.submit(Mock(client_environment=lambda: {"PATH": "/bin"}), [])

    assert started.call_args.kwargs["env"] == {"PATH": "/bin", "LIGHTNING_CIFAR_DEBUG": "1"}
