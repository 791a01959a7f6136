"""The logger in a job of the loopback Azure ML: what arrives in the run, by the unmodified SDK."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer

from lightning_cifar import AzureMLLogger
from tests.azure.recorded import QUIET, LoggingModel
from tests.deadline import deadline, wait_until

PARAMS = {"optimizer": {"lr": 0.1, "name": "SGD"}, "fn": torch.relu} | {f"p{i}": i for i in range(300)}


class WaitForFirstPoint(Callback):
    """Ends the first step only after its metrics have arrived: they are sent while the training goes on."""

    def __init__(self, azure):
        self.azure = azure

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 1:
            wait_until(lambda: points(self.azure), 30.0)


def points(azure):
    return sorted((m.name, m.step, m.value) for m in azure.metrics("run-1"))


def fit(job, steps, **logged):
    logger = AzureMLLogger(prefix="run", timeout=deadline(60))
    logger.log_hyperparams(PARAMS | logged)
    options = {"limit_val_batches": 0, "log_every_n_steps": 1, "enable_checkpointing": False}
    trainer = Trainer(max_steps=steps, logger=logger, callbacks=WaitForFirstPoint(job), **options, **QUIET)
    trainer.fit(LoggingModel())
    return logger


def show(logger, step):
    logger.log_image("samples", [torch.ones(3, 4, 5), np.zeros((4, 5), np.uint8)], step=step)
    logger.log_table("classes", ["name", "acc"], [["cat", 0.5], ["dog", np.float32(0.25)]], step=3)
    Path("note.txt").write_text("schön")
    logger.log_artifact("note.txt", "texts/note.txt")
    logger.log_confusion_matrix("confusion", torch.tensor([[2, 0], [1, 3]]), ["cat", "dog"], step=3)
    logger.log_metrics({"bad": float("nan"), "flag": True, "train_loss": 7.0}, step=2)
    logger.finalize("success")


@pytest.mark.filterwarnings("ignore:AzureMLLogger")  # of the NaN, and of the steps that the restart logs again
def test_a_training_arrives_while_it_runs_and_a_restarted_one_adds_only_what_is_new(job):
    show(fit(job, steps=3), step=1)
    first = points(job)
    assert [(name, step) for name, step, _ in first if name == "run-train_loss"] == [
        ("run-train_loss", step) for step in range(3)
    ], "each step once: the value that was logged first stands"
    assert ("run-flag", 2, 1.0) in first and "run-bad" not in {name for name, _, _ in first}
    assert all(type(value) is float for _, step, value in first if step is not None)
    assert not [t for t in threading.enumerate() if "azureml" in repr(t).lower()]
    artifacts = job.artifacts("run-1")
    images = [f"images/samples-step-1-{i}.png" for i in range(2)]
    assert set(artifacts) == {*images, "texts/note.txt", "run-confusion"}
    assert artifacts["texts/note.txt"].decode() == "schön" and artifacts[images[0]].startswith(b"\x89PNG")
    assert json.loads(artifacts["run-confusion"])["data"]["matrix"] == [[2, 0], [1, 3]]
    types = {name: series.type for name, series in job.run("run-1").metrics.items()}
    assert types["run-samples"] == "azureml.v2.image"
    assert types["run-confusion"] == "azureml.v2.confusion_matrix"
    left = [*Path("outputs").rglob("*.png"), *Path("outputs").rglob("*.txt")]
    assert not left, "what was sent would be uploaded by the platform a second time"

    show(fit(job, steps=5, p0="changed"), step=2)
    metrics = job.metrics("run-1")
    losses = [point for point in points(job) if point[0] == "run-train_loss"]
    assert [step for _, step, _ in losses] == list(range(5))
    assert losses[:3] == [point for point in first if point[0] == "run-train_loss"]
    rows = [(m.columns["name"], m.columns["value"]) for m in metrics if m.name == "run-hyperparameters"]
    assert len(rows) == 303 + 1 and dict(rows)["optimizer/lr"] == "0.1" and dict(rows)["fn"] == "relu"
    assert [value for name, value in rows if name == "p0"] == ["0", "changed"]
    table = [m.columns for m in metrics if m.name == "run-classes"]
    assert table == [{"name": "cat", "acc": 0.5, "step": 3.0}, {"name": "dog", "acc": 0.25, "step": 3.0}]
    added = {"images/samples-step-2-0.png", "images/samples-step-2-1.png", "texts/note-1.txt"}
    assert set(job.artifacts("run-1")) == set(artifacts) | added
