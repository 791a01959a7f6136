"""Other systems than Linux: what macOS does otherwise, and Windows, simulated: names are taken out of modules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cifar.azure.outbox import Progress, pending
from tests.azure.conftest import REPOSITORY, write_record
from tests.azure.fake_backend import FakeService
from tests.deadline import deadline, wait_until

POINTS = [("loss", step, step / 7) for step in range(100)]

_WINDOWS = """
import os, signal, sys
import filelock, matplotlib.figure, pytorch_lightning.cli, tensorboard.summary, torchmetrics, torchvision
from pytorch_lightning.trainer.connectors import signal_connector

signal_connector._IS_WINDOWS = True
signal.valid_signals = lambda: {signal.SIGINT, signal.SIGTERM}
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for module, names in {
    os: "fork forkpty getuid geteuid nice killpg getpgid setsid WNOHANG fchmod sysconf sched_getaffinity",
    signal: "SIGKILL SIGHUP SIGCONT SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGQUIT pthread_sigmask setitimer alarm",
}.items():
    for name in names.split():
        delattr(module, name)
"""


def windows(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose modules have as little as on Windows, after the libraries, which know Windows."""
    command = [sys.executable, "-c", f"{_WINDOWS}\n{code}"]
    env = {"PYTHONPATH": str(REPOSITORY), "HOME": str(folder), "PATH": "", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=deadline(60), check=False
    )


def test_training_and_the_logger_outside_a_job_need_nothing_that_windows_lacks(images: Path, tmp_path: Path) -> None:
    done = windows(
        f"""
from lightning_cifar.cli import main
code = main(["fit", "--data.source", {str(images)!r}, "--data.val_size", "30", "--trainer.max_epochs", "1",
             "--trainer.accelerator", "cpu", "--trainer.logger+=lightning_cifar.AzureMLLogger"])
assert "azureml" not in sys.modules
sys.exit(code)
""",
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert "Finished Training" in done.stdout
    assert (tmp_path / "results/colours/version_0/checkpoints/best.ckpt").exists()


def test_where_no_process_can_fork_the_record_is_kept_and_one_line_says_what_is_missing(
    fake: FakeService, tmp_path: Path
) -> None:
    kept = write_record(tmp_path / "kept-metrics.jsonl")
    relay = f'sys.argv = ["relay", {str(kept)!r}, "1", "60"]\nfrom lightning_cifar.azure import relay\nrelay.main()'
    replay = f'sys.argv = ["replay", {str(kept)!r}]\nfrom lightning_cifar.azure import replay\nreplay.main()'

    first, second = windows(relay, tmp_path), windows(replay, tmp_path)

    missing = "sending needs a system that can fork: Linux, macOS or WSL"
    assert (first.returncode, first.stderr) == (2, "")
    assert Progress.read(kept).error == missing
    assert (second.returncode, second.stderr) == (1, f"{kept}: {missing}; run this there\n")
    assert pending(kept) == 100


def test_waiting_for_a_relay_that_cannot_send_ends_at_once_where_there_is_no_sigcont(tmp_path: Path) -> None:
    done = windows(
        """
import subprocess, time
from pathlib import Path
from lightning_cifar.azure import process
from lightning_cifar.azure.run import RunAddress
hopeless = [sys.executable, "-c", f"import sys; sys.exit({process.HOPELESS})"]
process.start_relay = lambda *_: subprocess.Popen(hopeless, stdin=subprocess.PIPE)
outbox = process.RelayedOutbox(Path("a-metrics.jsonl"), RunAddress("run-1", "e", "w", "g", "s"), "v1", 600.0, {})
outbox.append('{"metric": "loss", "value": 1.0, "step": 0, "time": 0}\\n')
assert not outbox.wait(time.monotonic() + 3600)
""",
        tmp_path,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [[], ["500", "lost"], ["hang", "429"]], ids=lambda words: "-".join(words) or "well")
def test_on_macos_attempts_are_spawned_and_each_point_arrives_once(
    fake: FakeService, record: Path, start_relay, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps({"relay": {"START": "spawn", "STEP_SECONDS": 3.0}}))
    fake.script("log", *words)

    relay = start_relay(record)
    wait_until(lambda: fake.points() == POINTS, 60)
    relay.stdin.close()

    assert relay.wait(deadline(20)) == 0
    assert fake.points() == POINTS
    assert fake.calls("open") == len(words) + 1
