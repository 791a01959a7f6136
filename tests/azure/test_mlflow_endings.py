"""A training that is interrupted or told to end leaves everything with a real MLflow server, once, and no process."""

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

logger = AzureMLLogger(experiment_name="ended", workspace=sys.argv[2], save_dir=".", timeout=600.0)
Trainer(max_epochs=100, limit_val_batches=0, logger=logger, accelerator="cpu", devices=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False).fit(Model())
"""
SIGNALS = {"Ctrl-C": 2, "SIGTERM": 15}


def relays(folder):
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [command for command in commands if b"azure.relay" in command and os.fsencode(folder) in command]


@pytest.mark.parametrize("signal", SIGNALS)
def test_what_was_logged_until_a_signal_is_there_and_the_run_ends_as_killed(mlflow_server, tmp_path, signal):
    variables = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(SIGNALS[signal]), mlflow_server.url]
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "timeout": deadline(60)}
    done = subprocess.run(command, env=os.environ | variables, **options)
    assert "have not reached" not in done.stderr, done.stderr
    wait_until(lambda: not relays(tmp_path))
    (record,) = tmp_path.rglob("azureml-metrics/*-metrics.jsonl")
    number, client = record.read_text().count('"metric"'), mlflow_server.client
    run = client.search_runs([client.get_experiment_by_name("ended").experiment_id], max_results=1)[0]
    assert mlflow_server.points(run.info.run_id, "loss") == [("loss", step, float(step)) for step in range(number)]
    assert number >= 50 and run.info.status == "KILLED"
