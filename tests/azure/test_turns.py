"""What the senders of one run on one machine share: turns, so that nothing is sent twice, and the job's token."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_cifar.azure.outbox import Outbox, Progress, pending
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import Lock, RunLock, share_token, shared_file
from scripts.emulator.records import Metric, MetricSeries
from tests.azure.conftest import wait_until

# A forwarder with its constants changed: `python -c FORWARDER "worker.X = 1" SPOOL …`.
FORWARDER = """
import sys
from lightning_cifar.azure import forwarder, worker
exec(sys.argv.pop(1))
forwarder.main()
"""


@pytest.fixture
def address(job):
    """The address of the job's run."""
    return RunAddress.of_job()


@pytest.fixture
def record(address, tmp_path):
    """A record of 100 points."""
    spool = Outbox(tmp_path / "record-metrics.jsonl", address)
    for step in range(100):
        spool.append(f'{{"metric": "loss", "value": {step / 7}, "step": {step}, "time": 0}}\n')
    return spool.path


@pytest.fixture
def forward():
    """Start forwarders of this process, and end them with the test."""
    started = []

    def start(spool, change="", parent=None, seconds=60):
        command = [sys.executable, "-c", FORWARDER, change, str(spool)]
        command += ["--parent", str(parent or os.getpid()), "--seconds", str(seconds)]
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        started.append(subprocess.Popen(command, env=env, stdin=subprocess.PIPE, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        end(process)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


def test_two_loggers_of_one_job_that_log_the_same_points_send_them_once(job):
    loggers = job.logger(), job.logger()
    for name, logger in zip("ab", loggers, strict=True):
        logger.log_metrics({name: 1.0}, 0)
    wait_until(lambda: len(job.points()) == 2)  # both have read back
    for step in range(100):
        for name, logger in zip("ab", loggers, strict=True):
            logger.log_metrics({name: 1.0, "epoch": 0.0}, step)
    for logger in loggers:
        logger.finalize("success")
    assert job.points() == [(name, step, float(name != "epoch")) for name in ("a", "b", "epoch") for step in range(100)]


def test_what_a_killed_sender_left_in_flight_is_waited_for(job, record, forward):
    job.azure.misbehave("latency", on="/batch", delay=4)
    first = forward(record)
    wait_until(lambda: [r for r in job.azure.requests if r.path.endswith("/batch")])
    end(first)
    job.azure.behave()
    assert not job.points()
    forward(record, "worker.FLUSH_SECONDS = 5.5")
    wait_until(lambda: not pending(record))
    assert [step for _, step, _ in job.points()] == list(range(100))


def test_a_turn_after_another_senders_waits_for_what_may_be_in_flight_but_not_after_an_answer(address):
    first, second = RunLock(address, 0.5), RunLock(address, 0.5)
    for in_flight, waits in ((False, False), (True, True)):
        assert first.take() and not second.take()
        first.note(in_flight)
        first.release()
        began = time.monotonic()
        assert second.take() and second.after_another()
        assert (time.monotonic() - began > 0.3) is waits
        second.release()
    second.note(in_flight=False)
    assert not second.after_another()


def test_a_folder_that_others_can_read_is_not_trusted_and_each_goes_on_alone(address):
    folder = shared_file(address, "x").parent
    folder.chmod(0o755)
    with pytest.raises(PermissionError):
        shared_file(address, "x")
    assert Lock(address, "a").take() and Lock(address, "a").take()
    turns = RunLock(address, 1.0)
    turns.note(in_flight=True)
    assert turns.take()


def test_a_forwarder_whose_spool_another_one_holds_keeps_to_its_time_limit(address, record, forward):
    lock = Lock(address, record.stem)
    assert lock.take()
    assert forward(record, parent=1, seconds=0.5).wait(20) == 3
    assert pending(record) == 100


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_hangs_ends_with_its_forwarder(job, record, forward):
    fault = job.azure.misbehave("silence")
    process = forward(record)
    wait_until(lambda: fault.hits)
    (worker,) = children(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text(), 5)


def test_a_wedged_worker_is_killed_and_another_one_goes_on(job, record, forward):
    fault = job.azure.misbehave("silence")
    forward(record, "forwarder.STEP_SECONDS = 1.5")
    wait_until(lambda: Progress.read(record).error == "no answer within 2 s")
    assert fault.hits
    job.azure.behave()
    wait_until(lambda: not pending(record))
    assert len(job.points()) == 100


def test_the_limit_is_for_one_answer_and_not_for_reading_all_points_back(job, record, forward):
    """Pages of 5,000 points, each slow, that together take longer than the limit."""
    series = job.azure.run("run-1").metrics["loss"] = MetricSeries({"loss": "Double"}, "azureml.v1.scalar")
    stamp = "2026-01-01T00:00:00.0000000Z"
    for step in range(20_000):
        series.values.append(Metric("loss", step, 1.0, 0.0, {"loss": 1.0}, str(step), "azureml.v1.scalar", stamp))
    job.azure.misbehave("latency", on="/full", delay=0.8)
    forward(record, "forwarder.STEP_SECONDS = 2.5")
    wait_until(lambda: not pending(record))
    assert Progress.read(record).confirmed == 100 and len(job.points()) == 20_000


def test_a_sender_that_starts_after_the_token_has_expired_takes_the_renewed_one(job, monkeypatch):
    environments = [job.azure.job_environment("run-1", token_seconds=seconds) for seconds in (-60, 3600)]
    expired, valid = (environment["AZUREML_RUN_TOKEN"] for environment in environments)
    monkeypatch.setenv("AZUREML_RUN_TOKEN", expired)
    share_token(valid)
    logger = job.logger(timeout=20.0)
    logger.log_text("late", "x")
    logger.finalize("success")
    assert job.azure.artifacts("run-1")["texts/late.txt"] == b"x"
    assert shared_file(RunAddress.of_job(), "token").stat().st_mode & 0o077 == 0
