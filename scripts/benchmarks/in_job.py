"""What `AzureMLLogger` costs a training inside a job at most: its own time, and the processor time of its processes.

Two runs on a shared machine, with and without, differ by more than what is to be measured. So this adds up what the
logger takes away: the time of the training thread's calls, and the time for which the processes that send metrics hold
a core, as if the training had to wait for all of it. Their start, once in a job, is given by itself.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_cifar import AzureMLLogger
from lightning_cifar.callbacks.loss_window import LossWindow
from lightning_cifar.cli import main as command

START = 25.0
"""Seconds until the processes have surely imported the SDK."""


def logging_cost(flags: Callable[[str], list[str]]) -> dict[str, float]:
    """Train for a minute inside a job.

    Args:
        flags: gives the command line of `fit` for a results folder.

    Returns:
        `ratio`: of the time with the logger to the time without, at most; `start`: seconds of processor time, once.
    """
    in_calls = 0.0
    log_metrics, report = AzureMLLogger.log_metrics, LossWindow._log
    begun = time.perf_counter()
    looks: list[tuple[float, float]] = []  # (seconds, those that the logger has taken)

    def timed(self: AzureMLLogger, *args: Any, **kwargs: Any) -> None:
        nonlocal in_calls
        before = time.perf_counter()
        log_metrics(self, *args, **kwargs)
        in_calls += time.perf_counter() - before

    def look(self: LossWindow, trainer: Any, batch_idx: int) -> None:
        report(self, trainer, batch_idx)
        now = time.perf_counter() - begun
        if now > START:
            looks.append((now, in_calls + processor_seconds()))

    AzureMLLogger.log_metrics = timed  # type: ignore[method-assign]
    LossWindow._log = look  # type: ignore[method-assign]
    length = ["--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:01:00"]
    only_train = ["--trainer.limit_val_batches", "0", "--trainer.limit_test_batches", "0"]
    with tempfile.TemporaryDirectory() as results:
        code = command([*flags(results), *length, *only_train])
    if code:
        sys.exit(code)
    seconds, taken = (last - first for first, last in zip(looks[0], looks[-1], strict=True))
    return {"ratio": seconds / (seconds - taken), "start": looks[0][1]}


def processor_seconds() -> float:
    """Add up the processor time of this process's forwarder and all in its session, ended ones included."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # gone in the meantime
            continue
        processes[int(folder.name)] = (int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])))
    sessions = {pid for pid, (parent, session, _) in processes.items() if parent == os.getpid() and session == pid}
    ticks = sum(ticks for _, session, ticks in processes.values() if session in sessions)
    return ticks / os.sysconf("SC_CLK_TCK")
