"""What Lightning tests all of its loggers for, in a job and outside one."""

import inspect
import os
import pickle
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers.logger import DummyExperiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar import AzureMLLogger
from tests.azure.conftest import REPOSITORY

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}


@pytest.fixture(params=["in a job", "outside"])
def make_logger(request, tmp_path, monkeypatch):
    """Make loggers in a job of the emulator's, and outside of one."""
    if request.param == "in a job":
        return request.getfixturevalue("job").logger
    for name in [name for name in os.environ if name.startswith("AZUREML_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return AzureMLLogger


class LoggingModel(BoringModel):
    """Logs once per step and stage."""

    def training_step(self, batch, batch_idx):
        """Log `train_loss`."""
        loss = super().training_step(batch, batch_idx)["loss"]
        self.log("train_loss", loss)
        return loss

    def on_train_epoch_end(self):
        """Log `lr`, if there is a logger."""
        if self.logger is not None:
            self.logger.log_metrics({"lr": 0.1})  # as people do: without a step

    def validation_step(self, batch, batch_idx):
        """Log `val_loss`."""
        self.log("val_loss", super().validation_step(batch, batch_idx)["x"])

    def test_step(self, batch, batch_idx):
        """Log `test_loss`."""
        self.log("test_loss", super().test_step(batch, batch_idx)["y"])


class Recorder:
    """Keeps the history of calls, as Lightning's own tests of loggers do."""

    def __init__(self, logger):
        self.history = []
        log_metrics = logger.log_metrics

        def record(metrics, step=None):
            self.history.append((step, sorted(metrics)))
            log_metrics(metrics, step)

        logger.log_metrics = record


def test_fit_and_test_log_the_history_that_lightning_expects(make_logger, tmp_path):
    logger = make_logger()
    recorder = Recorder(logger)
    trainer = Trainer(
        max_epochs=1, limit_train_batches=2, limit_val_batches=1, limit_test_batches=1, log_every_n_steps=1,
        default_root_dir=tmp_path, logger=logger, **QUIET,
    )  # fmt: skip
    trainer.fit(LoggingModel())
    trainer.test()
    assert recorder.history == [
        (0, ["epoch", "train_loss"]),
        (1, ["epoch", "train_loss"]),
        (1, ["epoch", "val_loss"]),
        (None, ["lr"]),
        (2, ["epoch", "test_loss"]),
    ]


def test_logger_and_trainer_can_be_pickled_before_and_after_use(make_logger, tmp_path):
    logger = make_logger(prefix="p", timeout=9.0)
    trainer = Trainer(max_steps=1, limit_val_batches=0, default_root_dir=tmp_path, logger=logger, **QUIET)
    for _ in range(2):
        copy = pickle.loads(pickle.dumps(trainer)).logger
        assert (copy.name, copy.version, copy.save_dir) == (logger.name, logger.version, logger.save_dir)
        assert (copy._prefix, copy._timeout) == ("p", 9.0)
        copy.finalize("success")  # never used here: nothing to wait for
        logger.log_metrics({"a": 1.0}, 0)
        _ = logger.experiment
    pickle.loads(pickle.dumps(logger)).log_metrics({"a": 1.0})


def test_on_other_ranks_nothing_is_written_and_the_experiment_is_a_dummy(make_logger, tmp_path, monkeypatch):
    logger = make_logger()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_hyperparams({"a": 1})
    logger.log_image("a", object())
    logger.log_text("a", "b")
    logger.finalize("failed")
    assert isinstance(logger.experiment, DummyExperiment)
    logger.experiment.log("a", 1)  # does nothing
    assert not list(tmp_path.iterdir())


def test_finalize_does_nothing_on_a_logger_that_was_never_used(make_logger, tmp_path):
    logger = make_logger()
    _ = logger.experiment, logger.name, logger.version
    for status in ("success", "failed", "finished"):
        logger.finalize(status)
    logger.close()
    assert not list(tmp_path.iterdir())


def test_name_version_and_checkpoints_folder_are_well_defined(make_logger, tmp_path):
    logger = make_logger()
    checkpoints = ModelCheckpoint()
    trainer = Trainer(
        max_steps=1,
        limit_val_batches=0,
        default_root_dir=tmp_path / "root",
        logger=logger,
        callbacks=checkpoints,
        **QUIET,
    )
    trainer.fit(BoringModel())
    in_job = "AZUREML_RUN_ID" in os.environ
    expected = "outputs/cifar10/run-1/checkpoints" if in_job else "root/lightning_logs/version_0/checkpoints"
    assert Path(checkpoints.best_model_path).parent == (Path("outputs") if in_job else tmp_path) / (
        expected.removeprefix("outputs/")
    )


def test_every_kind_of_hyperparameters_is_taken(make_logger):
    logger = make_logger()
    logger.log_hyperparams(Namespace(a=1))
    logger.log_hyperparams({"b": {"c": [1, 2]}})
    logger.log_hyperparams({})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("run", "abc"),
        ("experiment_name", ""),
        ("prefix", 3),
        ("log_model", "sometimes"),
        ("timeout", "soon"),
        ("timeout", -1),
        ("timeout", float("nan")),
    ],
)
def test_a_mistaken_argument_is_refused_outside_a_job_too(argument, value):
    with pytest.raises(ValueError, match=f"{argument} of AzureMLLogger is {value!r}, but must be "):
        AzureMLLogger(**{argument: value})


def test_outside_a_job_nothing_is_imported_started_or_written(tmp_path, monkeypatch):
    """In a process of its own, so that no other test's import is seen."""
    code = inspect.cleandoc(
        """
        import sys, os, threading
        import pytorch_lightning.loggers  # loads torchvision and matplotlib, through torchmetrics
        before = set(sys.modules)
        from lightning_cifar import AzureMLLogger
        heavy = ("torchvision", "azureml", "lightning_cifar.classifier", "lightning_cifar.datamodule")
        logger = AzureMLLogger()
        logger.log_hyperparams({"a": 1})
        for step in range(1000):
            logger.log_metrics({"a": 1.0}, step)
        logger.log_table("t", ["a"], [[1]])
        logger.experiment.log("a", 1)
        logger.finalize("success")
        assert not [n for n in set(sys.modules) - before if n.split(".")[0] in heavy or n in heavy]
        assert threading.active_count() == 1
        assert os.listdir() == []
        """
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZUREML_")}
    env["PYTHONPATH"] = str(REPOSITORY)
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=True, timeout=150)


SPAWN = """
from lightning_cifar import AzureMLLogger
from pytorch_lightning import Trainer
from tests.azure.test_conventions import LoggingModel, QUIET

if __name__ == "__main__":
    logger = AzureMLLogger()
    logger.log_metrics({"before": 1.0}, 0)
    options = QUIET | {"devices": 2, "strategy": "ddp_spawn"}
    trainer = Trainer(max_steps=3, limit_val_batches=1, log_every_n_steps=1, logger=logger, **options)
    trainer.fit(LoggingModel())
"""


def test_under_ddp_spawn_every_metric_arrives_once(azure, script, tmp_path):
    env = azure.job_environment("run-1") | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(script(SPAWN), env=env, cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    points = [(m.name, m.step) for m in azure.metrics("run-1")]
    assert len(points) == len(set(points))
    assert {("before", 0), *(("train_loss", step) for step in range(3))} <= set(points)
