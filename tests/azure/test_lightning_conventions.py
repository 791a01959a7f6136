"""What Lightning asks of each of its loggers, in a job and outside one."""

import math
import os
import pickle
import subprocess
import sys
import threading
from argparse import Namespace
from pathlib import Path

import pytest
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import DummyExperiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.backends import limits
from lightning_cifar.azure.run_status import SIGTERM_SECONDS
from tests.azure.conftest import REPOSITORY
from tests.azure.recorded import QUIET, LoggingModel, without_relay
from tests.deadline import deadline


@pytest.fixture(params=["in a job", "in a job of SDK v2", "outside"])
def records(request, monkeypatch):
    if request.param == "outside":
        return request.getfixturevalue("outside")
    records = request.getfixturevalue("recorded")
    if request.param == "in a job of SDK v2":
        uri = "azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g/providers"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{uri}/Microsoft.MachineLearningServices/workspaces/w")
    return records


def trainer_with(logger, folder, **options):
    options = {"limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 1, **options}
    return Trainer(max_epochs=1, log_every_n_steps=1, default_root_dir=folder, logger=logger, **options, **QUIET)


def test_fit_and_test_log_the_history_and_save_where_lightning_expects(records, tmp_path, monkeypatch):
    logger, history = AzureMLLogger(), []
    log_metrics = logger.log_metrics

    def record(metrics, step=None):
        history.append((step, sorted(metrics)))
        log_metrics(metrics, step)

    monkeypatch.setattr(logger, "log_metrics", record)
    trainer = trainer_with(logger, tmp_path)
    trainer.fit(LoggingModel())
    trainer.test()
    assert history == [
        (0, ["epoch", "train_loss"]),
        (1, ["epoch", "train_loss"]),
        (1, ["epoch", "val_loss"]),
        (None, ["lr"]),
        (2, ["epoch", "test_loss"]),
    ]
    in_job = logger.version == "run-1"
    assert [point[:2] for point in records.points() if point[0] != "epoch"] == in_job * [
        ("train_loss", 0), ("train_loss", 1), ("val_loss", 1), ("lr", 1), ("test_loss", 2),
    ]  # fmt: skip
    assert bool(records.drains) == in_job
    folder = "outputs/cifar10/run-1" if in_job else "lightning_logs/version_0"
    assert Path(trainer.checkpoint_callback.best_model_path).resolve().parent == tmp_path / folder / "checkpoints"


def test_the_experiment_is_kept_and_is_a_dummy_on_other_ranks_only(records, monkeypatch):
    logger = AzureMLLogger()
    before = set(sys.modules)
    experiment = logger.experiment
    assert experiment and not isinstance(experiment, DummyExperiment)
    assert logger._experiment is experiment is logger.experiment
    assert logger.version == "run-1" or experiment.log("a", 1, step=2) is None
    assert not [name for name in set(sys.modules) - before if name.startswith(("azureml.", "mlflow."))]
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert isinstance(logger.experiment, DummyExperiment)


def test_logger_and_trainer_can_be_pickled_before_and_after_use(records, tmp_path):
    logger = AzureMLLogger(prefix="p", timeout=9.0)
    trainer = trainer_with(logger, tmp_path)
    for _ in range(2):
        copy = pickle.loads(pickle.dumps(trainer)).logger
        assert (copy.name, copy.version, copy.save_dir) == (logger.name, logger.version, logger.save_dir)
        assert (copy._prefix, copy._timeout) == ("p", 9.0)
        copy.finalize("success")
        assert not records.drains, "the copy was never used: nothing to wait for"
        logger.log_metrics({"a": 1.0}, 0)
        _ = logger.experiment
    pickle.loads(pickle.dumps(logger)).log_metrics({"a": 2.0}, 1)
    in_job = logger.version == "run-1"
    assert sorted(records.points()) == in_job * [("p-a", 0, 1.0), ("p-a", 0, 1.0), ("p-a", 1, 2.0)]
    assert len(records.paths()) == 2 * in_job, "each process has a record of its own"


def test_a_logger_that_was_never_used_and_one_on_another_rank_write_nothing(records, tmp_path, monkeypatch):
    logger = AzureMLLogger()
    _ = logger.experiment, logger.name, logger.version
    logger.finalize("success")
    logger.close()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_hyperparams({"a": 1})
    logger.log_image("a", object())
    logger.log_artifact("a")
    logger.finalize("failed")
    logger.experiment.log("a", 1)  # does nothing
    assert not list(tmp_path.iterdir()) and not records.drains


def test_every_kind_of_hyperparameters_becomes_one_flat_table(records):
    logger = AzureMLLogger(prefix="p")
    logger.log_hyperparams({})
    logger.log_hyperparams(Namespace(a=1, fn=threading.Thread, none=None))
    logger.log_hyperparams({"b": {"c": [1, 2], "text": "x" * 7000}})
    length = limits(logger._backend).cell_length  # 1,000 by SDK v1, 6,000 by MLflow
    tables = [(entry["table"], entry["columns"], entry["rows"]) for entry in records.entries()]
    assert tables == (logger.version == "run-1") * [
        ("p-hyperparameters", ["name", "value"], [["a", "1"], ["fn", "Thread"], ["none", "None"]]),
        ("p-hyperparameters", ["name", "value"], [["b/c", "[1, 2]"], ["b/text", "x" * length]]),
    ]


@pytest.mark.parametrize(
    "argument",
    [{"log_model": "sometimes"}, {"timeout": -1}, {"timeout": math.nan}, {"max_bytes": 0}, {"max_bytes": math.nan}],
)
def test_a_mistaken_argument_is_refused_outside_a_job_too(outside, argument):
    with pytest.raises(ValueError, match=rf"{next(iter(argument))}=\S+ must be|timeout=\S+ at least 0$"):
        AzureMLLogger(**argument)


@pytest.mark.parametrize(("signum", "timeout", "limit"), [(2, 45.0, 45.0), (15, 45.0, SIGTERM_SECONDS), (15, 5.0, 5.0)])
def test_a_training_that_is_ended_is_waited_for_as_long_as_the_platform_allows(recorded, signum, timeout, limit):
    logger = AzureMLLogger(timeout=timeout)
    logger.log_metrics({"a": 1.0}, 0)
    try:
        error = KeyboardInterrupt()
        error.signum = signum  # as the command line marks an end by a signal
        raise error
    except KeyboardInterrupt:
        logger.finalize("failed")
    assert recorded.drains == [limit]


def test_outside_a_job_nothing_is_imported_started_or_written(tmp_path):
    """In a process of its own, so that no other test's import is seen."""
    code = """
import sys, os, threading
import pytorch_lightning.loggers  # loads torchvision and matplotlib, through torchmetrics
before = set(sys.modules)
from lightning_cifar import AzureMLLogger
logger = AzureMLLogger()
logger.log_hyperparams({"a": 1})
logger.log_metrics({"a": 1.0}, 0)
logger.log_table("t", ["a"], [[1]])
logger.experiment.log("a", 1)
logger.finalize("success")
heavy = ("torchvision", "azureml", "lightning_cifar.classifier", "lightning_cifar.datamodule")
assert not [name for name in set(sys.modules) - before if name.startswith(heavy)]
assert threading.active_count() == 1 and os.listdir() == []
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZUREML_")}
    env["PYTHONPATH"] = str(REPOSITORY)
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=True, timeout=deadline(30))


class ExperimentCheck(Callback):
    """Runs in the spawned processes."""

    def setup(self, trainer, pl_module, stage):
        without_relay([])
        assert trainer.global_rank > 0 or trainer.logger._experiment

    def on_train_batch_start(self, trainer, *args):
        assert isinstance(trainer.logger.experiment, DummyExperiment) == (trainer.global_rank > 0)


def test_under_ddp_spawn_rank_zero_logs_and_the_others_have_a_dummy(recorded):
    logger = AzureMLLogger()
    logger.log_metrics({"before": 1.0}, 0)
    options = QUIET | {"devices": 2, "strategy": "ddp_spawn", "callbacks": ExperimentCheck()}
    trainer = Trainer(max_steps=3, limit_val_batches=1, log_every_n_steps=1, logger=logger, **options)
    trainer.fit(LoggingModel())
    points = [point[:2] for point in recorded.points()]
    assert len(points) == len(set(points)) and len(recorded.paths()) == 2, "each process has a record of its own"
    assert {("before", 0), *(("train_loss", step) for step in range(3))} <= set(points)
