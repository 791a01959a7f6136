"""The logger in a job of the loopback Azure ML."""

import json
import sys
import threading
import time
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
import torch
from PIL import Image

from tests.azure.conftest import wait_until


def test_metrics_arrive_in_mid_training_within_five_seconds(job):
    logger = job.logger()
    logger.log_metrics({"loss": 1.0}, step=0)
    wait_until(job.points)
    for step in (1, 2):
        logged = time.monotonic()
        logger.log_metrics({"loss": torch.tensor(1.0 / step), "flag": True, "bad": float("nan")}, step=step)
        last = wait_until(
            lambda step=step: [m for m in job.azure.metrics("run-1") if m.step == step and m.name == "loss"]
        )
        assert last[0].arrived - logged < 5.0
    logger.finalize("success")
    assert job.points() == [
        ("flag", 1, 1.0),
        ("flag", 2, 1.0),
        ("loss", 0, 1.0),
        ("loss", 1, 1.0),
        ("loss", 2, 0.5),
    ]
    assert all(type(m.value) is float for m in job.azure.metrics("run-1"))
    assert not [t for t in threading.enumerate() if "azureml" in repr(t).lower()]


def test_the_training_thread_pays_little_and_the_record_is_there_at_once(job):
    job.azure.misbehave("silence")
    logger = job.logger(timeout=1.0)
    logger.log_metrics({"loss": 0.0}, step=0)
    began = time.perf_counter()
    for step in range(1, 5001):
        logger.log_metrics({"loss": step / 7}, step=step)
    assert (time.perf_counter() - began) / 5000 < 100e-6
    # Read as another process would see it after SIGKILL: nothing waits in a buffer of this one.
    lines = [json.loads(line) for line in job.spool().read_text().splitlines()]
    assert [(e["step"], e["value"]) for e in lines[1:]] == [(step, step / 7) for step in range(5001)]


def test_two_hundred_hyperparameters_become_one_table_that_repetition_does_not_grow(job):
    logger = job.logger()
    params = {"optimizer": {"lr": 0.1, "name": "SGD"}, "long": "x" * 5000, "fn": torch.relu, "none": None}
    params |= {f"p{i}": i for i in range(300)}
    logger.log_hyperparams(params)
    logger.log_hyperparams(params)
    logger.log_metrics({"loss": 1.0}, 0)
    again = job.logger()
    logger.finalize("success")
    again.log_hyperparams(params | {"p0": "changed"})
    again.finalize("success")
    table = [m.columns for m in job.azure.metrics("run-1") if m.name == "hyperparameters"]
    rows = {row["name"]: row["value"] for row in table}
    assert len(table) == 305 + 1
    assert (rows["optimizer/lr"], rows["p299"], rows["none"], rows["p0"]) == ("0.1", "299", "None", "changed")


def test_pictures_tables_and_files_arrive_in_studio_s_types_and_nothing_twice(job, tmp_path):
    logger = job.logger(prefix="run")
    figure = matplotlib.figure.Figure()
    figure.add_subplot().plot([1, 2])
    logger.log_figure("curve", figure, step=3)
    logger.log_image("samples", [torch.ones(3, 4, 5), np.zeros((4, 5), np.uint8), Image.new("RGB", (5, 4))], step=3)
    logger.log_table("classes", ["name", "acc"], [["cat", 0.5], ["dog", np.float32(0.25)]], step=3)
    logger.log_text("note", "schön")
    logger.log_confusion_matrix("confusion", torch.tensor([[2, 0], [1, 3]]), ["cat", "dog"], step=3)
    logger.log_confusion_matrix("confusion", torch.tensor([[3, 0], [0, 3]]), ["cat", "dog"], step=4)
    Path("config.yaml").write_text("a: 1\n")
    logger.log_artifact("config.yaml")
    Path("outputs/best.ckpt").write_text("weights")
    logger.log_artifact("outputs/best.ckpt")  # the platform uploads it
    logger.finalize("success")

    artifacts = job.azure.artifacts("run-1")
    assert set(artifacts) == {
        "images/curve-step-3.png",
        *(f"images/samples-step-3-{i}.png" for i in range(3)),
        "texts/note.txt",
        "run-confusion",
        "run-confusion-step-4",
        "config.yaml",
    }
    assert artifacts["texts/note.txt"].decode() == "schön" and artifacts["config.yaml"] == b"a: 1\n"
    Path("white.png").write_bytes(artifacts["images/samples-step-3-0.png"])
    assert Image.open("white.png").size == (5, 4) and Image.open("white.png").getpixel((0, 0)) == (
        255,
        255,
        255,
    )
    matrix = json.loads(artifacts["run-confusion"])
    assert matrix["schema_type"] == "confusion_matrix"
    assert matrix["data"] == {"class_labels": ["cat", "dog"], "matrix": [[2, 0], [1, 3]]}
    types = {name: series.type for name, series in job.azure.run("run-1").metrics.items()}
    assert types["run-curve"] == types["run-samples"] == "azureml.v2.image"
    assert types["run-confusion"] == "azureml.v2.confusion_matrix"
    rows = [m.columns for m in job.azure.metrics("run-1") if m.name == "run-classes"]
    assert rows == [{"name": "cat", "acc": 0.5, "step": 3.0}, {"name": "dog", "acc": 0.25, "step": 3.0}]
    left = [path for path in Path("outputs").rglob("*") if path.suffix in (".png", ".txt", ".yaml")]
    assert not left, "what was sent would be uploaded by the platform a second time"


def test_an_artifact_whose_name_is_taken_gets_another_one(job):
    job.azure.misbehave("409", on="artifacts", requests=2)
    logger = job.logger()
    logger.log_text("note", "a")
    logger.log_image("white", np.ones((4, 4)), step=1)
    logger.finalize("success")
    artifacts = job.azure.artifacts("run-1")
    assert set(artifacts) == {"texts/note-2.txt", "images/white-step-1.png"} and artifacts["texts/note-2.txt"] == b"a"


def test_a_picture_that_cannot_be_written_is_warned_of_and_the_training_goes_on(job):
    logger = job.logger()
    logger.log_text("first", "a")
    folder = job.spool("media").parent / (job.spool("media").stem + "-files")
    (folder / "images").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="cannot record 'images/white.png'"):
        logger.log_image("white", np.ones((4, 4)))
    logger.finalize("success")


def test_of_more_than_fifty_names_the_first_fifty_flow(job):
    logger = job.logger()
    with pytest.warns(UserWarning, match="kept on disk but not sent: m50, m51"):
        logger.log_metrics({f"m{i}": 1.0 for i in range(52)}, 0)
    logger.finalize("success")
    assert {name for name, _, _ in job.points()} == {f"m{i}" for i in range(50)}
    assert not [r for r in job.azure.requests if r.status == 207]


def test_metrics_that_an_earlier_attempt_sent_are_not_sent_again(job):
    first, second = job.logger(), job.logger()
    for step in range(10):
        first.log_metrics({"loss": 1.0}, step)
    first.finalize("success")
    for step in range(5, 15):
        second.log_metrics({"loss": 2.0}, step)
    second.finalize("success")
    assert job.points() == [("loss", s, 1.0) for s in range(10)] + [("loss", s, 2.0) for s in range(10, 15)]


def test_experiment_is_a_proxy_that_needs_no_azureml_until_it_is_used(job):
    logger = job.logger()
    assert (logger.name, logger.version) == ("cifar10", "run-1")
    assert "run-1" in repr(logger.experiment)
    assert not [name for name in sys.modules if name.startswith("azureml.")]
    assert not Path("outputs").exists() and not job.azure.requests
