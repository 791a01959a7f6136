"""However a training process ends, everything logged arrives, nothing stays behind, and its run ends as it ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.azure.conftest import FAKE, REPOSITORY
from tests.azure.fake_backend import FakeService
from tests.deadline import deadline, wait_until

# In a job, whose run is not for the logger to end.
JOBS = {
    "exception": ("log(); raise RuntimeError('the loss is odd')", 1),
    "Ctrl-C": ("log(); os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", None),
    "SIGTERM": ("log(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -15),
    "SIGKILL": ("log(); os.kill(os.getpid(), signal.SIGKILL)", -9),
}
# Interactive runs: how they end, and how the service hears of it.
RUNS = {
    "completed": ("fit(); fit(); test()", "Completed", None),
    "failed": ("fit(\"raise RuntimeError('the loss is odd')\")", "Failed", "RuntimeError: the loss is odd"),
    "interrupted": ("fit('os.kill(os.getpid(), signal.SIGINT); time.sleep(60)')", "Canceled", None),
    "killed": ("log(); os.kill(os.getpid(), signal.SIGKILL)", "Failed", "the training process ended without a word"),
    "own loop": ("log(); raise RuntimeError('my own loop failed')", "Failed", "RuntimeError: my own loop failed"),
    "uploads": ("log(); logger.log_artifact('../script.py')", "Completed", None),
    "children": ("child(0); child(1)", "Completed", None),  # as ddp_fork does for fit and for test
}
# One import of Lightning serves all: each ending has a process forked from it.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from lightning_cifar import AzureMLLogger
from lightning_cifar.azure import backends, process
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

def log(first=0):
    for step in range(first, first + 100):
        logger.log_metrics({"loss": float(step)}, step)

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        self.logger.log_metrics({"loss": 1.0}, self.trainer.global_step)
        exec(self.ending)
        return super().training_step(batch, batch_idx)

def trainer():
    return Trainer(max_steps=2, limit_val_batches=0, limit_test_batches=1, logger=logger, accelerator="cpu", devices=1,
                   enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)

def fit(ending=""):
    model = Model()
    model.ending = ending
    trainer().fit(model)

def test():
    trainer().test(Model())

def child(number):
    if os.fork() == 0:
        log(100 * number)
        logger.finalize("success")
        os._exit(0)
    os.wait()

backends.DEFAULT, process.RELAY = sys.argv[1], "tests.azure.quick_relay"
endings = json.loads(sys.stdin.read())
for name, (ending, environment) in endings.items():
    if os.fork() == 0:
        Path(name).mkdir()
        os.chdir(name)
        os.environ.update(environment)
        logger = AzureMLLogger(experiment_name=None if "AZUREML_RUN_ID" in environment else name, timeout=600.0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        exec(ending)
        sys.exit(0)
codes = {}
for _ in endings:
    pid, status = os.wait()
    codes[pid] = os.waitstatus_to_exitcode(status)
print(json.dumps(dict(zip(endings, (codes[pid] for pid in sorted(codes))))))
"""


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
    """Run all of them, and return the folder, each with its own service, and the exit codes."""
    folder = tmp_path_factory.mktemp("endings")
    keys = ("subscription_id", "resource_group", "workspace_name")
    (folder / "config.json").write_text(json.dumps(dict.fromkeys(keys, "x")))
    (folder / "shared").mkdir()
    cases = {}
    for name, (ending, *_) in (JOBS | RUNS).items():
        environment = {"FAKE_SERVICE": str(folder / f"{name} service"), "TMPDIR": str(folder / "shared")}
        cases[name] = ending, environment | ({"AZUREML_RUN_ID": f"run-{name}"} if name in JOBS else {})
    FakeService(folder / "uploads service").script("upload", "500", "500")  # it comes late
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZUREML_")}
    script = folder / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), FAKE],
        input=json.dumps(cases),
        env=env | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=deadline(100),
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def steps(service, name="loss"):
    return sorted(step for _, other, step, _ in service.read("points") if other == name)


def no_process_of(folder):
    """No relay of a record below this folder runs any more."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return not any(os.fsencode(folder) + b"/" in command and b"quick_relay" in command for command in commands)


@pytest.mark.parametrize("name", JOBS)
def test_in_a_job_everything_arrives_once_and_the_relay_ends(endings, name):
    folder, codes = endings
    service = FakeService(folder / f"{name} service")
    wait_until(lambda: len(steps(service)) == 100)  # after SIGKILL nobody has waited for it
    assert steps(service) == list(range(100))
    wait_until(lambda: no_process_of(folder / name))
    assert codes[name] != 0 and JOBS[name][1] in (None, codes[name])
    assert not service.read("ends"), "the job owns the run's status"


@pytest.mark.parametrize("name", RUNS)
def test_an_interactive_run_ends_once_as_its_training_ended(endings, name):
    folder, _ = endings
    service = FakeService(folder / f"{name} service")
    wait_until(lambda: service.read("ends"))
    wait_until(lambda: no_process_of(folder / name))
    ((_, status, reason),) = service.read("ends")
    assert status == RUNS[name][1] and (RUNS[name][2] is None or reason == RUNS[name][2])
    expected = {"completed": 2, "failed": 1, "interrupted": 1, "children": 200}.get(name, 100)
    assert steps(service) == list(range(expected))


def test_a_run_ends_after_its_uploads(endings):
    calls = FakeService(endings[0] / "uploads service").read("calls")
    assert calls.count("upload") == 3 and calls.index("end") > len(calls) - 1 - calls[::-1].index("upload")
