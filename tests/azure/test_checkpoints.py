"""Checkpoints reach the run as with Lightning's own loggers; what the platform uploads is not sent twice."""

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import Logger

from lightning_cifar import AzureMLLogger
from tests.azure.conftest import wait_until
from tests.azure.test_conventions import QUIET


class ValidatedModel(BoringModel):
    """Gets better from epoch to epoch, so that each has a checkpoint."""

    def validation_step(self, batch, batch_idx):
        """Log a score that grows."""
        self.log("score", float(self.current_epoch))


def fit(logger, folder):
    checkpoints = ModelCheckpoint(
        folder, "epoch{epoch}", monitor="score", mode="max", save_last=True, auto_insert_metric_name=False
    )
    options = {"limit_train_batches": 1, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    Trainer(max_epochs=3, logger=logger, callbacks=checkpoints, **options, **QUIET).fit(ValidatedModel())
    return checkpoints


def uploaded(job):
    return {name for name in job.azure.artifacts("run-1") if name.endswith(".ckpt")}


@pytest.mark.parametrize(
    ("log_model", "expected"),
    [
        (False, set()),
        (True, {"checkpoints/epoch2.ckpt", "checkpoints/last.ckpt"}),
        (
            "all",
            {f"checkpoints/{name}.ckpt" for name in ("epoch0", "epoch1", "epoch2", "last", "last-v1", "last-v2")},
        ),
    ],
)
def test_best_and_last_are_uploaded_as_they_were_saved(job, log_model, expected):
    checkpoints = fit(job.logger(log_model=log_model), "elsewhere")
    assert uploaded(job) == expected
    if log_model:
        artifacts, tags = job.azure.artifacts("run-1"), job.azure.run("run-1").tags
        newest = "checkpoints/last-v2.ckpt" if log_model == "all" else "checkpoints/last.ckpt"
        assert artifacts[newest] == Path(checkpoints.last_model_path).read_bytes()
        assert artifacts["checkpoints/epoch2.ckpt"] == Path(checkpoints.best_model_path).read_bytes()
        assert float(tags["best_model_score"]) == 2.0 and tags["best_model_path"].endswith("epoch2.ckpt")


def test_what_lies_under_outputs_in_a_job_is_left_to_the_platform_but_its_score_is_told(job):
    fit(job.logger(log_model=True), "outputs/checkpoints")
    wait_until(lambda: "best_model_score" in job.azure.run("run-1").tags)
    assert not uploaded(job)


def test_a_config_can_name_the_logger_by_class_path(job):
    parser = ArgumentParser()
    parser.add_argument("--logger", type=Logger)
    arguments = {"prefix": "p", "log_model": "all", "timeout": 30, "experiment_name": "e", "save_dir": "s"}
    config = parser.parse_object({"logger": {"class_path": "lightning_cifar.AzureMLLogger", "init_args": arguments}})
    logger = parser.instantiate_classes(config).logger
    assert isinstance(logger, AzureMLLogger) and logger.version == "run-1" and logger.save_dir == "s"
