"""The logger by MLflow: in a job of SDK v2, to the loopback Azure ML; outside one, to a real MLflow server."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_cifar import AzureMLLogger
from tests.azure.mlflow_server import mlflow_server as mlflow_server  # fixtures
from tests.azure.mlflow_server import running_server as running_server
from tests.azure.recorded import QUIET, LoggingModel
from tests.deadline import deadline

PARAMS = {"optimizer": {"lr": 0.1, "name": "SGD"}, "fn": torch.relu} | {f"p{i}": i for i in range(150)}


def train(steps, **arguments):
    logger = AzureMLLogger(timeout=deadline(60), **arguments)
    logger.log_hyperparams(PARAMS)
    options = {"limit_val_batches": 0, "log_every_n_steps": 1} | QUIET
    checkpoints = [ModelCheckpoint(save_last=True)] if arguments.get("log_model") else []
    options |= {"callbacks": checkpoints, "enable_checkpointing": bool(checkpoints)}
    Trainer(max_steps=steps, logger=logger, **options).fit(LoggingModel())
    logger.log_metrics({"acc@1": 0.5}, steps)
    logger.log_image("samples", [torch.ones(3, 4, 5), np.zeros((4, 5), np.uint8)], step=1)
    logger.log_table("classes", ["name", "acc"], [["cat", 0.5], ["dog", np.float32(0.25)]])
    logger.log_confusion_matrix("confusion", torch.tensor([[2, 0], [1, 3]]), ["cat", "dog"])
    logger.finalize("success")
    return logger


@pytest.mark.filterwarnings("ignore:AzureMLLogger")  # of the steps that the restart logs again
@pytest.mark.parametrize("job", ["mlflow"], indirect=True)
def test_in_a_job_of_sdk_v2_everything_arrives_in_its_own_run_and_a_restart_adds_only_what_is_new(job):
    logger = train(3)
    losses = [(m.step, m.value) for m in job.metrics("run-1") if m.name == "train_loss"]
    assert [step for step, _ in losses] == [0, 1, 2]
    assert {(m.name, m.step, m.value) for m in job.metrics("run-1")} >= {("acc_1-71dfc1", 3, 0.5)}
    artifacts = job.artifacts("run-1")
    assert set(artifacts) == {
        *(f"images/samples-step-1-{number}.png" for number in range(2)), "tables/classes.json", "confusion.json",
    }  # fmt: skip
    assert json.loads(artifacts["confusion.json"])["data"]["matrix"] == [[2, 0], [1, 3]]
    assert json.loads(artifacts["tables/classes.json"])["data"] == [["cat", 0.5], ["dog", 0.25]]
    params = {param["key"]: param["value"] for param in job.run("run-1").extra["params"]}
    assert len(params) == 153 and params["optimizer/lr"] == "0.1" and params["fn"] == "relu"
    logger.close()
    train(5)
    again = [(m.step, m.value) for m in job.metrics("run-1") if m.name == "train_loss"]
    assert again[:3] == losses and [step for step, _ in again] == list(range(5))
    assert set(job.artifacts("run-1")) == set(artifacts)
    assert len(job.runs()) == 1 and job.run("run-1").status == "Running", "no twin, and the job owns the status"


def test_from_a_laptop_a_training_is_a_run_of_a_plain_server_and_is_found_there(mlflow_server, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    logger = train(3, experiment_name="laptop", workspace=mlflow_server.url, log_model=True)
    logger.experiment.set_tag(logger.experiment.run_id, "by hand", "yes")
    logger.close()
    client = mlflow_server.client
    (experiment,) = client.search_experiments(filter_string="name = 'laptop'")
    (run,) = client.search_runs([experiment.experiment_id], filter_string="params.`optimizer/lr` = '0.1'")
    assert (run.info.run_name, run.info.status) == (logger.version, "FINISHED")
    assert run.data.metrics["acc_1-71dfc1"] == 0.5 and run.data.tags["by hand"] == "yes"
    assert [step for _, step, _ in mlflow_server.points(run.info.run_id, "train_loss")] == [0, 1, 2]
    checkpoints = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "checkpoints")}
    assert "last.ckpt" in checkpoints and len(checkpoints) == 2
    model = client.download_artifacts(run.info.run_id, "mlflow-model", tmp_path)
    load = "import mlflow.pytorch, sys; print(type(mlflow.pytorch.load_model(sys.argv[1])).__name__)"
    done = subprocess.run([sys.executable, "-c", load, model], capture_output=True, text=True, cwd=model)
    assert done.stdout == "LoggingModel\n", done.stderr


@pytest.mark.parametrize("named", ["run", "id", "variable"])
def test_a_run_of_the_server_is_joined_and_left_to_its_owner(mlflow_server, tmp_path, monkeypatch, named):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    client, run_id = mlflow_server.client, mlflow_server.start_run("joined").run_id
    if named == "variable":
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    run = {"run": client.get_run(run_id), "id": run_id, "variable": None}[named]
    before = len(client.search_runs([client.get_run(run_id).info.experiment_id]))

    logger = AzureMLLogger(run=run, workspace=mlflow_server.url, experiment_name="another", timeout=deadline(60))
    logger.log_metrics({"loss": 0.5}, 3)
    logger.finalize("success")
    assert (logger.version, logger.experiment.run_id) == (run_id, run_id)
    logger.close()

    assert mlflow_server.points(run_id, "loss") == [("loss", 3, 0.5)]
    assert client.get_run(run_id).info.status == "RUNNING" and client.get_experiment_by_name("another") is None
    assert len(client.search_runs([client.get_run(run_id).info.experiment_id])) == before
