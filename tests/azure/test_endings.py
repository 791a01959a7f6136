"""How loggers, their waits and their processes end."""

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_cifar.azure import patience, process
from lightning_cifar.azure.outbox import Outbox, Progress, entry_line, pending
from lightning_cifar.azure.relay import Relay
from lightning_cifar.azure.run import RunAddress
from tests.azure.conftest import REPOSITORY, wait_until


def forwarders(logger):
    return [spool._process for spool in logger._journal._spools.values() if spool._process is not None]


def test_close_ends_the_processes_and_the_logger_can_be_used_again(job):
    logger = job.logger()
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_text("note", "x")
    processes, files = forwarders(logger), len(list(Path("/proc/self/fd").iterdir()))
    assert len(processes) == 2
    logger.close()
    assert all(process.returncode == 0 for process in processes)
    assert len(list(Path("/proc/self/fd").iterdir())) == files - 4  # two records, two pipes
    logger.close()
    logger.log_metrics({"a": 2.0}, 1)
    logger.finalize("success")
    assert job.points() == [("a", 0, 1.0), ("a", 1, 2.0)]


def test_a_service_that_is_back_after_a_wait_in_vain_is_waited_for_again(job, monkeypatch):
    monkeypatch.setattr(patience, "_ROW_SECONDS", 0.0)
    job.azure.misbehave("silence")
    logger = job.logger(timeout=8.0)
    logger.log_metrics({"a": 1.0}, 0)
    with pytest.warns(UserWarning, match="1 entries have not reached"):
        logger._journal.drain(1.0)
    job.azure.behave()
    wait_until(lambda: not pending(job.spool()))
    logger.log_metrics({"a": 1.0}, 1)
    logger.finalize("success")
    assert len(job.points()) == 2


def test_several_loggers_share_one_limit(job):
    job.azure.misbehave("refuse")
    loggers = [job.logger(timeout=2.0) for _ in range(3)]
    for logger in loggers:
        logger.log_metrics({"a": 1.0}, 0)
    began = time.monotonic()
    with pytest.warns(UserWarning, match="have not reached"):
        for logger in loggers:
            logger.finalize("success")
    assert time.monotonic() - began < 2.5


def test_the_one_warning_names_both_records_and_later_losses_are_told_too(job):
    job.azure.misbehave("refuse")
    logger = job.logger(timeout=1.0)
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_text("note", "x")
    with pytest.warns(UserWarning, match="2 entries have not reached") as caught:
        logger.finalize("success")
    message = str(caught[0].message)
    command = message.split("replay ")[1].split()
    assert command == [str(job.spool(kind).absolute()) for kind in ("metrics", "media")]
    state = Progress(rejected=["last"], refused=30, left_out=["b"])
    for spool in logger._journal._spools.values():
        state.write(spool.path)
    with pytest.warns(UserWarning) as caught:
        logger.finalize("success")
    told = [str(warning.message) for warning in caught]
    assert any("refused 60 entries" in text for text in told) and any("not sent: b" in text for text in told)


def test_names_that_other_processes_left_no_room_for_are_named(job):
    for names in ([f"a{i}" for i in range(40)], [f"b{i}" for i in range(12)]):
        logger = job.logger()
        logger.log_metrics(dict.fromkeys(names, 1.0), 0)
        if names[0] == "a0":
            logger.finalize("success")
    with pytest.warns(UserWarning, match="processes of this run have taken some.*: b10, b11$"):
        logger.finalize("success")
    assert len(job.points()) == 50


def test_an_azureml_that_cannot_be_imported_is_hopeless_and_says_what_next(job, monkeypatch):
    Path("broken").mkdir()
    Path("broken/imghdr.py").write_text("raise ModuleNotFoundError(\"No module named 'imghdr'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(Path("broken").absolute()))
    monkeypatch.setattr(process, "_RESTART_SECONDS", 0.0)
    logger = job.logger(timeout=20.0)
    logger.log_metrics({"a": 1.0}, 0)
    with pytest.warns(UserWarning, match=r"cannot import it \(No module named 'imghdr'\): use Python 3\.11"):
        logger.finalize("success")
    (before,) = forwarders(logger)
    logger.log_metrics({"a": 1.0}, 1)
    assert forwarders(logger) == [before]


def test_a_forwarder_that_died_is_started_again_in_a_session_of_its_own(job, monkeypatch):
    monkeypatch.setattr(process, "_RESTART_SECONDS", 0.0)
    logger = job.logger()
    logger.log_metrics({"a": 1.0}, 0)
    (first,) = forwarders(logger)
    assert os.getsid(first.pid) == first.pid  # Ctrl-C at the terminal is for the training
    first.kill()
    first.wait()
    logger.log_metrics({"a": 1.0}, 1)
    wait_until(lambda: len(job.points()) == 2)


def test_a_run_in_the_jobs_workspace_is_opened_with_the_jobs_sign_in(job):
    job.azure.job_environment("child-1")  # makes the run
    place = job.azure.workspace
    workspace = SimpleNamespace(
        name=place.name, resource_group=place.resource_group, subscription_id=place.subscription_id
    )
    logger = job.logger(run=SimpleNamespace(id="child-1", experiment=SimpleNamespace(name="e", workspace=workspace)))
    logger.log_metrics({"a": 1.0}, 0)
    logger.finalize("success")
    assert [m.name for m in job.azure.metrics("child-1")] == ["a"] and not job.points()


def test_the_record_stays_where_the_platform_looks_wherever_the_training_goes(job, monkeypatch):
    logger = job.logger()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    logger.log_metrics({"a": 1.0}, 0)
    assert logger.save_dir == "../outputs"
    Path("../outputs/best.ckpt").touch()
    logger.log_artifact("../outputs/best.ckpt")  # the platform's, as before
    assert not list(Path().iterdir())
    assert [path.suffix for path in Path("../outputs").rglob("*-metrics.jsonl")] == [".jsonl"]
    assert not list(Path("../outputs").rglob("*-media.jsonl"))


@pytest.fixture
def record(tmp_path):
    spool = Outbox(tmp_path / "record-metrics.jsonl", RunAddress("run-1", "e", "w", "g", "s", interactive=True))
    spool.append(entry_line({"metric": "a", "value": 1.0, "step": 0}) + entry_line({"end": "Completed"}))
    return spool.path


def test_an_end_that_was_not_told_counts_as_pending(record):
    assert pending(record) == 2


def test_a_record_is_synced_to_disk_and_retry_after_is_heeded(record, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    forwarder = Relay(record, os.getppid(), 1.0)
    forwarder._sync(100.0)
    assert synced == [forwarder._handle.fileno()]
    forwarder._board.retry_after = 40.0
    forwarder._failed(100.0)
    assert forwarder._next_attempt == 140.0 and forwarder._next_hurried_attempt < 105.0


SCRIPT = """
import os, sys
from lightning_cifar import AzureMLLogger

def log(logger):
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_text("note", "x")
    return logger

def ending(name):
    logger = AzureMLLogger(experiment_name=name)
    if name == "exception":
        log(logger)
        raise RuntimeError("my own loop failed")
    if name == "uploads":
        log(logger)
    if name == "children":
        for step in range(2):  # as ddp_fork does for fit and for test
            if os.fork() == 0:
                logger.log_metrics({"a": 1.0}, step)
                logger.finalize("success")
                os._exit(0)
            os.wait()
    sys.exit(0)

for name in ("exception", "uploads", "children"):
    if os.fork() == 0:
        ending(name)
for _ in range(3):
    os.wait()
"""


def test_an_interactive_run_ends_once_as_its_process_ends_and_after_its_uploads(azure, script, tmp_path):
    azure.write_config(tmp_path)
    azure.misbehave("latency", on="blobs", delay=1.0)
    env = azure.client_environment() | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(script(SCRIPT), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    for name, status, steps in (("exception", "Failed", 1), ("uploads", "Completed", 1), ("children", "Completed", 2)):
        (run,) = azure.runs(name)
        assert (run.status, len(azure.metrics(run.id))) == (status, steps), (name, done.stderr)
        if name == "exception":
            assert "my own loop failed" in str(run.error)
        if name == "uploads":
            (told,) = [r.arrived for r in azure.requests if run.id in r.path and b"Completed" in r.body]
            assert told > max(r.arrived for r in azure.requests if r.path.endswith("note.txt"))


def test_ctrl_c_at_the_terminal_ends_the_training_and_not_its_forwarder(azure, script, tmp_path):
    text = """
import time
from lightning_cifar import AzureMLLogger
logger = AzureMLLogger()
for step in range(200):
    logger.log_metrics({"loss": float(step)}, step)
print("logged", flush=True)
time.sleep(60)
"""
    env = azure.job_environment("run-1") | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    training = subprocess.Popen(
        script(text), env=env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    with training:
        assert training.stdout.readline() == "logged\n"
        time.sleep(0.5)  # the forwarder is still importing
        os.killpg(training.pid, signal.SIGINT)
        assert training.wait(30) != 0
    assert [m.step for m in sorted(azure.metrics("run-1"), key=lambda m: m.step)] == list(range(200))
