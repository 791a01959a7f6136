"""By MLflow, a training that is interrupted or told to end leaves everything with the service, once, and no process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.azure.conftest import REPOSITORY
from tests.azure.mlflow_server import mlflow_server as mlflow_server  # fixtures
from tests.azure.mlflow_server import running_server as running_server
from tests.deadline import deadline, wait_until

SCRIPT = """
import os, sys
from lightning_cifar import AzureMLLogger
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        step = self.trainer.global_step
        self.logger.log_metrics({"loss": float(step)}, step)
        if step == 49:
            os.kill(os.getpid(), int(sys.argv[1]))
        return super().training_step(batch, batch_idx)

place = {"experiment_name": "ended", "workspace": sys.argv[2]} if sys.argv[2:] else {}
logger = AzureMLLogger(save_dir=".", timeout=600.0, **place)
Trainer(max_epochs=100, limit_val_batches=0, logger=logger, accelerator="cpu", devices=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False).fit(Model())
"""
SIGNALS = {"Ctrl-C": 2, "SIGTERM": 15}


@pytest.fixture
def train(tmp_path):
    """Train until the signal, and return the steps that were logged; no relay is left."""

    def train(number, environment, *place):
        variables = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", SCRIPT, str(number), *place]
        options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "timeout": deadline(60)}
        done = subprocess.run(command, env=environment | variables, **options)
        assert "have not reached" not in done.stderr, done.stderr
        wait_until(lambda: not relays(tmp_path))
        (record,) = tmp_path.rglob("azureml-metrics/*-metrics.jsonl")
        return record.read_text().count('"metric"')

    return train


def relays(folder):
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [command for command in commands if b"azure.relay" in command and os.fsencode(folder) in command]


@pytest.mark.parametrize("signal", SIGNALS)
def test_in_a_job_of_azure_ml(azure, train, signal):
    number = train(SIGNALS[signal], azure.job_environment("run-1", mlflow=True))
    points = sorted((metric.step, metric.value) for metric in azure.metrics("run-1") if metric.name == "loss")
    assert number >= 50 and points == [(step, float(step)) for step in range(number)]
    assert [request.status for request in azure.requests if request.path.endswith("/runs/log-batch")]
    assert azure.run("run-1").status == "Running", "the job owns it"


@pytest.mark.parametrize("signal", SIGNALS)
def test_at_a_server(mlflow_server, train, signal):
    number = train(SIGNALS[signal], dict(os.environ), mlflow_server.url)
    client = mlflow_server.client
    run = client.search_runs([client.get_experiment_by_name("ended").experiment_id], max_results=1)[0]
    assert mlflow_server.points(run.info.run_id, "loss") == [("loss", step, float(step)) for step in range(number)]
    assert number >= 50 and run.info.status == "KILLED"
