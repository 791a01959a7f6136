"""What `AzureMLLogger` costs a training inside a job: windows of `loss` in turn with the logger and without.

Within one run, since two runs on a shared machine differ by more than what is to be measured. In the windows without,
the process that sends metrics stands still. A window is a quarter of the default's, so four times as much is logged.
The windows before that process has imported the SDK are left out.
"""

import contextlib
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lightning_cifar import AzureMLLogger
from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.cli import main as command

START_OF_FORWARDER = 25.0
"""Seconds until the process that sends metrics has surely imported the SDK."""


def logging_cost(flags: Callable[[str], list[str]], batch_size: int) -> float:
    """Give the time of a window of `loss` with `AzureMLLogger` ÷ without.

    Args:
        flags: gives the command line of `fit` for a results folder.
        batch_size: images in a batch.
    """
    windows: list[tuple[float, bool]] = []  # (seconds, with the logger)
    report, started = CIFAR10Classifier._report_window, time.perf_counter()
    begun: float | None = None
    away: AzureMLLogger | None = None

    def report_window(self: CIFAR10Classifier, step: int, batch_idx: int) -> None:
        nonlocal begun, away
        report(self, step, batch_idx)
        if begun is not None:
            # an epoch's last window is shorter, and the first one waits for checkpoints
            whole = batch_idx >= 2 * window and not self.trainer.is_last_batch
            windows.append((time.perf_counter() - begun if whole else math.nan, away is None))
        elif time.perf_counter() - started < START_OF_FORWARDER:
            return
        if away is None:
            away = next(one for one in self.trainer.loggers if isinstance(one, AzureMLLogger))
            self.trainer.loggers.remove(away)
            os.killpg(forwarder(), signal.SIGSTOP)
        else:
            self.trainer.loggers.append(away)
            away = None
            os.killpg(forwarder(), signal.SIGCONT)
        begun = time.perf_counter()

    CIFAR10Classifier._report_window = report_window  # type: ignore[method-assign]
    window = max(20, round(2000 / batch_size))
    with tempfile.TemporaryDirectory() as results:
        length = ["--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:01:30"]
        only_train = ["--trainer.limit_val_batches", "0", "--trainer.limit_test_batches", "0"]
        code = command([*flags(results), *length, *only_train, "--trainer.log_every_n_steps", str(window)])
        if away is not None:
            os.killpg(forwarder(), signal.SIGCONT)
    if code:
        sys.exit(code)
    triples = zip(windows, windows[1:], windows[2:], strict=False)
    ratios = [2 * here / (before + after) for (before, _), (here, logging), (after, _) in triples if logging]
    return statistics.median(ratio for ratio in ratios if not math.isnan(ratio))


def forwarder() -> int:
    """Find the process that sends this process's metrics, by its command line."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # gone in the meantime
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"lightning_cifar.azure.forwarder" in words and str(os.getpid()).encode() in words:
                return os.getpgid(int(folder.name))
    sys.exit("no forwarder is there")
