"""Rehearsing the real training: one node, and two that share no files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import make_folder
from tests.scripts.conftest import ROOT, Outcome, call, make_project

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
_FLAGS = [
    *("--trainer.max_epochs", "2", "--data.val_size", "30", "--optimizer.lr", "0.01"),
    "--trainer.callbacks+=probe.Probe",
]
IMAGES = 3 * 100 - 30


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def losses(printed: str) -> list[float]:
    return [float(text) for text in re.findall(r"batch=\s*\d+: loss ([\d.]+)", printed)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real package, and a module of the user's own."""
    folder = make_project(tmp_path_factory.mktemp("rehearse") / "project")
    shutil.rmtree(folder / "lightning_cifar")
    shutil.copytree(ROOT / "lightning_cifar", folder / "lightning_cifar", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "probe.py").write_text(_PROBE)
    make_folder(folder / "images", ("blue", "green", "red"), 100, 10)
    return folder


@pytest.fixture(scope="module")
def two_nodes(project: Path) -> Outcome:
    """A job on two nodes, whose outputs are brought back."""
    flags = ["--nodes", "2", "--data", "images", "--download", "--", "--data.batch_size", "5", *_FLAGS]
    return call("rehearse", flags, project, environment(), timeout=250)


@pytest.fixture(scope="module")
def probes(two_nodes: Outcome, project: Path) -> list[dict]:
    """What each process has noted."""
    assert two_nodes.code == 0, two_nodes.out[-3000:] + two_nodes.err
    (folder,) = (project / "downloads").glob("cifar10_*/outputs/probe")
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_nodes_make_one_world_and_use_no_image_twice_in_an_epoch(probes: list[dict]) -> None:
    assert [probe["world_size"] for probe in probes] == [2, 2]
    halves = [probe["seen"] for probe in probes]
    assert len(halves[0]) == len(halves[1]) == IMAGES  # two epochs of half the images
    for epoch in (slice(0, IMAGES // 2), slice(IMAGES // 2, IMAGES)):
        used = halves[0][epoch] + halves[1][epoch]
        assert len(set(used)) == IMAGES


def test_the_best_checkpoint_is_tested_on_both_nodes_though_only_one_has_it(probes: list[dict]) -> None:
    assert probes[0]["tested"] == probes[1]["tested"]
    assert probes[0]["checkpoint"].endswith("best.ckpt")
    assert [probe["here"] for probe in probes] == [True, False]


def test_every_metric_arrives_once_and_is_drawn(two_nodes: Outcome, probes: list[dict], project: Path) -> None:
    assert two_nodes.err == ""
    table = dict(re.findall(r"│ (\w+) +│ +(\d+) │", two_nodes.out))
    assert table["loss"] == "12"  # five windows and a rest in each of two epochs
    assert table["val_acc"] == "2"
    assert table["test_acc"] == "1"
    assert "mount namespaces" in two_nodes.out or "unguessable paths" in two_nodes.out
    with Image.open(project / "downloads" / "rehearsal.png") as picture:
        assert picture.width > 500


def test_two_processes_learn_like_one_at_twice_the_batch_size(two_nodes: Outcome, project: Path) -> None:
    flags = ["--data.source", "images", "--data.batch_size", "10", "--trainer.logger", "false", *_FLAGS]
    command = [sys.executable, "-m", "lightning_cifar", "fit", "--trainer.default_root_dir", "outputs", *flags]

    one = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, check=True, timeout=100
    )

    assert len(losses(one.stdout)) == len(losses(two_nodes.out)) == 12
    assert losses(two_nodes.out) == pytest.approx(losses(one.stdout), abs=0.15)


def test_a_module_that_the_snapshot_lacks_fails_the_job_though_the_checkout_has_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    main = project / "lightning_cifar" / "__main__.py"
    main.write_text("from lightning_cifar.errors import UserError\n" + main.read_text())
    with (project / ".amlignore").open("a") as ignore:
        ignore.write("/lightning_cifar/errors.py\n")

    outcome = call("rehearse", [], project, environment() | {"PYTHONPATH": str(ROOT)})

    assert outcome.code == 1
    assert "No module named 'lightning_cifar.errors'" in outcome.out
    assert "the job failed" in outcome.last


def test_a_job_whose_metrics_never_arrive_fails_the_rehearsal(tmp_path: Path) -> None:
    flags = ["--nodes", "5", "--compute", "my-cluster", "--environment", "mine:3"]

    outcome = call("rehearse", flags, make_project(tmp_path / "project"), environment())

    assert outcome.code == 1
    assert "no metric arrived" in outcome.last


@pytest.mark.parametrize(
    ("data", "message"), [("cifar10", "a rehearsal downloads nothing"), ("nowhere", "nowhere is no folder")]
)
def test_data_that_a_rehearsal_cannot_have_is_refused(tmp_path: Path, data: str, message: str) -> None:
    outcome = call("rehearse", ["--data", data], make_project(tmp_path / "project"), environment())

    assert outcome.code == 1
    assert message in outcome.last
