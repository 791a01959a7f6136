"""Whatever state the service is in: nothing is lost, nothing is there twice, nothing hangs."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from tests.azure.conftest import REPOSITORY, wait_until

BATCH = r"/runs/run-1/batch"
STEPS = 300


def log(logger):
    for step in range(STEPS):
        logger.log_metrics({"loss": step / 7, "acc": float(step)}, step)


def expected():
    return sorted([("loss", s, s / 7) for s in range(STEPS)] + [("acc", s, float(s)) for s in range(STEPS)])


@pytest.mark.parametrize(
    ("kind", "requests"),
    [("store-and-drop", 3), ("429", 2), ("expired", 1), ("400", 2)],
)
def test_after_some_failures_each_metric_is_there_exactly_once(job, kind, requests):
    fault = job.azure.misbehave(kind, on=BATCH, requests=requests)
    logger = job.logger()
    log(logger)
    logger.finalize("success")
    assert fault.hits == requests
    assert job.points() == expected()


def test_an_outage_in_mid_training_is_caught_up_without_being_asked(job):
    logger = job.logger()
    logger.log_metrics({"loss": 0.0}, 0)
    wait_until(job.points)
    fault = job.azure.misbehave("503", seconds=3)
    for step in range(1, 100):
        logger.log_metrics({"loss": step / 7}, step)
    wait_until(lambda: len(job.points()) == 100, seconds=30)
    assert fault.hits
    assert job.points() == [("loss", s, s / 7) for s in range(100)]


@pytest.mark.parametrize("kind", ["refuse", "silence"])
def test_a_service_that_never_takes_anything_costs_a_bounded_wait_and_one_warning(job, kind):
    job.azure.misbehave(kind)
    logger = job.logger(timeout=2.0)
    log(logger)
    began = time.monotonic()
    with pytest.warns(UserWarning, match=rf"600 entries .*{job.spool().name}.*azure.replay") as caught:
        logger.finalize("success")
        logger.finalize("success")  # a test after the fit: it does not wait it out again
    assert time.monotonic() - began < 2.5
    assert len(caught) == 1
    assert job.points() == []
    job.azure.behave()
    wait_until(lambda: job.points() == expected(), seconds=40)


def test_after_sigterm_the_wait_is_shorter(job, monkeypatch):
    monkeypatch.setattr("lightning_cifar.azure.logger.SIGTERM_SECONDS", 1.0)
    job.azure.misbehave("silence")
    logger = job.logger()
    logger.log_metrics({"loss": 1.0}, 0)
    began = time.monotonic()
    with pytest.warns(UserWarning, match="1 entries have not reached"):
        try:
            raise SIGTERMException
        except SIGTERMException:
            logger.finalize("failed")
    logger.close()  # as at the process's exit
    assert time.monotonic() - began < 1.5


def test_a_token_that_was_renewed_survives_a_failure(job, monkeypatch):
    monkeypatch.setenv("AZUREML_RUN_TOKEN", job.azure.job_environment("run-1", token_seconds=6)["AZUREML_RUN_TOKEN"])
    monkeypatch.delenv("AZUREML_RUN_TOKEN_EXPIRY", raising=False)
    began = time.monotonic()
    logger = job.logger()
    logger.log_metrics({"loss": 1.0}, 0)
    wait_until(job.points)
    time.sleep(max(0.0, began + 6.5 - time.monotonic()))
    fault = job.azure.misbehave("500", on=BATCH, requests=1)
    logger.log_metrics({"loss": 1.0}, 1)
    wait_until(lambda: len(job.points()) == 2, seconds=15)
    assert fault.hits == 1


def test_a_folder_that_cannot_be_written_is_warned_of_once_and_the_training_goes_on(job):
    Path("outputs").write_text("a file where the folder should be")
    logger = job.logger()
    with pytest.warns(UserWarning, match="cannot record metrics; the training goes on") as caught:
        for step in range(3):
            logger.log_metrics({"loss": 1.0}, step)
        logger.finalize("success")
    assert len(caught) == 1


def test_a_run_that_cannot_be_written_for_good_does_not_hold_up_what_comes_after(job):
    job.azure.misbehave("400", on="blobs", requests=1)
    logger = job.logger()
    logger.log_text("refused", "a")
    logger.log_text("taken", "b")
    with pytest.warns(UserWarning, match="refused 1 entries"):
        logger.finalize("success")
    assert job.azure.artifacts("run-1")["texts/taken.txt"] == b"b"


ENDINGS = {
    "sys.exit": "sys.exit(3)",
    "exception": "raise RuntimeError('training failed')",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGKILL before a silent service": "print(forwarder.pid); os.kill(os.getpid(), signal.SIGKILL)",
}
# One import of Lightning serves all: each ending has a process forked from it.
SCRIPT = """
import json, os, signal, sys, time, traceback
from pathlib import Path
from lightning_cifar import AzureMLLogger

for number, (ending, environment) in enumerate(json.loads(sys.stdin.read())):
    if os.fork() == 0:
        Path(str(number)).mkdir()
        os.chdir(str(number))
        os.environ.update(environment)
        logger = AzureMLLogger(timeout=10.0 if "print" in ending else 60.0)
        for step in range(200):
            logger.log_metrics({"loss": float(step)}, step)
        forwarder = logger._journal._spools["metrics"]._process
        sys.stdout.reconfigure(line_buffering=True)
        exec(ending)
        sys.exit(0)
codes = {}
for _ in range(number + 1):
    pid, status = os.wait()
    codes[pid] = os.waitstatus_to_exitcode(status)
print([code for _, code in sorted(codes.items())])
"""


def test_however_the_process_ends_everything_logged_arrives_and_nothing_stays_behind(azure, script, tmp_path):
    azure.misbehave("silence", on="run-4")
    jobs = [(code, azure.job_environment(f"run-{n}")) for n, code in enumerate(ENDINGS.values())]
    done = subprocess.run(
        script(SCRIPT),
        input=json.dumps(jobs),
        env=jobs[0][1] | {"PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
    )
    forwarder, codes = done.stdout.splitlines()
    assert codes == "[3, 1, -15, -9, -9]", done.stderr
    for number in range(4):
        run = f"run-{number}"
        wait_until(lambda run=run: len(azure.metrics(run)) >= 200, seconds=40)
        assert sorted(m.step for m in azure.metrics(run)) == list(range(200))
    wait_until(lambda: not Path("/proc", forwarder).exists(), seconds=20)
