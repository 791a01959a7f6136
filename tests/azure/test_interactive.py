"""A run that the logger itself starts from a laptop, and ends as the training ended."""

import json
import signal
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.run_status import outcome as outcome_of
from lightning_cifar.errors import UserError
from tests.azure.conftest import REPOSITORY, wait_until

SCRIPT = """
import json, os, signal, sys, threading, time
from pathlib import Path
from lightning_cifar import AzureMLLogger
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

class Model(BoringModel):
    ending = ""
    def training_step(self, batch, batch_idx):
        if batch_idx == 3:
            exec(self.ending)
        self.logger.log_metrics({"loss": 1.0}, self.trainer.global_step)
        return super().training_step(batch, batch_idx)

options = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
for name, ending in json.loads(sys.stdin.read()).items():
    if os.fork() == 0:
        os.environ["LIGHTNING_TEST"] = name
        logger = AzureMLLogger(experiment_name=name)
        trainer = Trainer(max_steps=6, limit_val_batches=0, limit_test_batches=1, logger=logger,
                          enable_checkpointing=False, default_root_dir=name, **options)
        Model.ending = ending
        trainer.fit(Model())
        trainer.test(Model())
        sys.exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
ENDINGS = {
    "Completed": ("", "Completed"),
    "exception": ("raise RuntimeError('the loss is odd')", "Failed"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(1)", "Canceled"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "Failed"),
}


def test_a_run_is_started_at_first_use_and_ends_as_the_training_ended(azure, script, tmp_path):
    azure.write_config(tmp_path)
    remote = "https://user:secret-token@example.com/repository.git"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    env = azure.client_environment() | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    endings = json.dumps({name: ending for name, (ending, _) in ENDINGS.items()})
    done = subprocess.run(
        script(SCRIPT), input=endings, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    for name, (_, status) in ENDINGS.items():
        (run,) = azure.runs(name)
        if name == "killed":  # nobody waited for its forwarder
            wait_until(lambda run=run: run.status == "Failed", seconds=30)
        assert run.status == status, (name, done.stderr)
        steps = [m.step for m in azure.metrics(run.id) if m.name == "loss"]
        assert steps == list(range(6 if name == "Completed" else 3)), name
        if name == "exception":
            assert "the loss is odd" in str(run.error)
    leaked = [request.path for request in azure.requests if b"secret-token" in request.body]
    assert not leaked, "the SDK would have sent the address of the git remote"


def test_a_run_that_is_passed_is_logged_to_and_left_running(azure, script, tmp_path):
    azure.write_config(tmp_path)
    text = """
from azureml.core import Experiment, Run, Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
import os
names = ("TENANT_ID", "ID", "PASSWORD")
secrets = [os.environ.pop(f"AZUREML_SERVICE_PRINCIPAL_{name}") for name in names]
workspace = Workspace.from_config(auth=ServicePrincipalAuthentication(*secrets))
from lightning_cifar import AzureMLLogger
run = Experiment(workspace, "mine").start_logging(snapshot_directory=None)
logger = AzureMLLogger(run=run)
assert logger.version == run.id and logger.name == "mine"
logger.log_metrics({"a": 1}, 0)
logger.experiment.tag("seen", "yes")
logger.finalize("failed")
offline = AzureMLLogger(run=Run.get_context())
offline.log_metrics({"a": 1}, 0)
assert len(os.listdir("azureml-metrics")) == 3
"""
    env = azure.client_environment() | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run(script(text), env=env, cwd=tmp_path, check=True, timeout=150)
    (run,) = azure.runs("mine")
    assert [(m.name, m.step) for m in azure.metrics(run.id)] == [("a", 0)]
    assert run.status == "Running" and run.tags["seen"] == "yes"


def test_in_a_job_the_jobs_run_is_taken_and_no_second_one_started(job):
    logger = job.logger(experiment_name="other")
    logger.log_metrics({"a": 1.0}, 0)
    logger.finalize("failed")
    assert job.points() == [("a", 0, 1.0)]
    assert [run.id for run in job.azure.runs()] == ["run-1"]
    assert job.azure.run("run-1").status == "Running" and not job.azure.run("run-1").error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no config.json of an Azure ML workspace"),
        ("{", "is not the JSON of an Azure ML workspace"),
        ("[]", "is not the JSON of an Azure ML workspace"),
        ('{"subscription_id": "s", "workspace_name": "w"}', "lacks resource_group"),
    ],
)
def test_a_workspace_config_that_cannot_be_used_says_what_and_what_next(tmp_path, monkeypatch, content, message):
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message) as raised:
        AzureMLLogger(experiment_name="e")
    assert len(str(raised.value).splitlines()) == 1
    assert ":" in str(raised.value)


class InterruptedBySignalError(Exception):
    """As the command line raises it."""

    signum = signal.SIGTERM


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("success", None, "Completed"),
        ("finished", None, "Completed"),
        ("failed", RuntimeError(), "Failed"),
        ("failed", None, "Failed"),
        ("failed", KeyboardInterrupt(), "Canceled"),
        ("failed", SIGTERMException(), "Canceled"),
        ("failed", InterruptedBySignalError(), "Canceled"),
        ("failed", SystemExit(0), "Completed"),
        ("failed", SystemExit(2), "Failed"),
    ],
)
def test_the_status_of_a_run_is_how_its_training_ended(status, error, outcome):
    assert outcome_of(status, error) == outcome


def test_a_missing_azureml_is_named_with_the_command_when_a_run_is_needed(tmp_path, monkeypatch):
    find = Distribution.from_name

    def without_azureml(name):
        if name == "azureml-core":
            raise PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(Distribution, "from_name", without_azureml)
    monkeypatch.chdir(tmp_path)
    AzureMLLogger().log_metrics({"a": 1.0}, 0)
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    for use in (lambda logger: logger.experiment, lambda logger: logger.log_metrics({"a": 1.0}, 0)):
        with pytest.raises(UserError, match=r"azureml-core is not installed.*pip install azureml-core$"):
            use(AzureMLLogger())
