"""Whatever state the service is in: nothing is lost, nothing is there twice, nothing hangs."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

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
    [("store-and-drop", 3), ("429", 5), ("500", 2), ("drop", 2), ("expired", 1), ("400", 2)],
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


@pytest.mark.parametrize("kind", ["429", "refuse", "silence"])
def test_a_service_that_never_takes_anything_costs_a_bounded_wait_and_one_warning(job, kind):
    job.azure.misbehave(kind)
    logger = job.logger(timeout=3.0)
    log(logger)
    began = time.monotonic()
    with pytest.warns(UserWarning, match=rf"600 entries .*{job.spool().name}.*azure.replay") as caught:
        logger.finalize("success")
        logger.finalize("success")  # a test after the fit: it does not wait it out again
    assert time.monotonic() - began < 3.5
    assert len(caught) == 1
    assert job.points() == []
    logger._journal._warned = False
    job.azure.behave()
    wait_until(lambda: job.points() == expected(), seconds=40)


def test_a_run_that_cannot_be_written_for_good_does_not_hold_up_what_comes_after(job):
    job.azure.misbehave("400", on="blobs", requests=1)
    logger = job.logger()
    logger.log_text("refused", "a")
    logger.log_text("taken", "b")
    with pytest.warns(UserWarning, match="refused 1 entries"):
        logger.finalize("success")
    assert job.azure.artifacts("run-1")["texts/taken.txt"] == b"b"


ENDINGS = {
    "return": "",
    "sys.exit": "sys.exit(3)",
    "exception": "raise RuntimeError('training failed')",
    "SIGTERM": "print('ready', flush=True); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), 9)",
}
SCRIPT = """
import os, sys, time
from lightning_cifar import AzureMLLogger
logger = AzureMLLogger()
for step in range(200):
    logger.log_metrics({{"loss": float(step)}}, step)
{ending}
"""


def test_however_the_process_ends_everything_logged_arrives(azure, script, tmp_path):
    running = {}
    for number, (ending, code) in enumerate(ENDINGS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        env = azure.job_environment(f"run-{number}") | {"PYTHONPATH": str(REPOSITORY)}
        running[ending] = subprocess.Popen(
            script(SCRIPT.format(ending=code)),
            env=env,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    running["SIGTERM"].stdout.readline()
    running["SIGTERM"].terminate()
    codes = {ending: process.wait(timeout=60) for ending, process in running.items()}
    assert codes == {"return": 0, "sys.exit": 3, "exception": 1, "SIGTERM": -15, "SIGKILL": -9}
    for number in range(len(ENDINGS)):
        wait_until(lambda number=number: len(azure.metrics(f"run-{number}")) >= 200, seconds=40)
        assert [m.step for m in sorted(azure.metrics(f"run-{number}"), key=lambda m: m.step)] == list(
            range(200)
        )


def test_the_forwarder_ends_with_the_training_process_even_if_the_service_is_silent(azure, script, tmp_path):
    azure.misbehave("silence")
    env = azure.job_environment("run-1") | {"PYTHONPATH": str(REPOSITORY)}
    text = SCRIPT.replace("AzureMLLogger()", "AzureMLLogger(timeout=2.0)").format(
        ending="print(logger._journal._spools['metrics']._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(script(text), env=env, cwd=tmp_path, stdout=subprocess.PIPE, timeout=60)
    pid = int(done.stdout)

    def gone():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"

    wait_until(gone, seconds=15)
