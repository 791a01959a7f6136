"""What logging costs, and what arrives, in every state of the service.

    python -m scripts.benchmarks.logger [--loggers AzureMLLogger MLFlowLogger --states healthy "always 500"]

Each row is a training process of its own that logs metrics one call at a time, as fast as it can, and then ends. The
service is the emulator: for `AzureMLLogger` by SDK v1 and by MLflow, for `Run.log` as the tutorial uses it, and for the
same with `Run.flush` at the end. Or it is a real MLflow server behind a proxy: for `AzureMLLogger`, and for Lightning's
MLFlowLogger, which waits for each answer unless it is `async`.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_cifar.azure.outbox import pending
from scripts.benchmarks.timing import machine, table
from scripts.emulator import Emulator
from scripts.emulator.mlflow_server import MlflowServer

ROOT = Path(__file__).parents[2]
DELAY = 0.2
LATE = f"+{DELAY * 1000:.0f} ms per request"
# requests that store points, and all that have to do with metrics: of SDK v1 and of MLflow
BATCH, METRICS = "/batch|log-batch", "/metric/|/mlflow/"
# state → arguments of `misbehave`
STATES: dict[str, dict[str, Any]] = {
    "healthy": {"kind": "latency", "delay": 0},
    LATE: {"kind": "latency", "delay": DELAY},
    "five 429s": {"kind": "429", "requests": 5, "on": BATCH},
    "five 500s": {"kind": "500", "requests": 5, "on": BATCH},
    "always 429": {"kind": "429", "on": METRICS},
    "always 500": {"kind": "500", "on": METRICS},
    "refused": {"kind": "refuse"},
    "never answering": {"kind": "silence"},
    "stored, then dropped": {"kind": "store-and-drop", "requests": 5, "on": BATCH},
}
AZURE = ("AzureMLLogger", "AzureMLLogger, MLflow", "Run.log", "Run.log, flush")
SERVER = ("AzureMLLogger, server", "MLFlowLogger", "MLFlowLogger, async")
PATIENCE = 90.0
"""Seconds after which a process is killed: where the service does not recover, `Run.flush` goes on for hours."""

Figures = dict[str, Any]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000, help="metrics per row (default: %(default)s)")
    parser.add_argument("--states", nargs="+", choices=STATES, default=list(STATES))
    parser.add_argument("--loggers", nargs="+", choices=AZURE + SERVER, default=[*AZURE, *SERVER])
    parser.add_argument("--waiting-number", type=int, default=100, help="for MLFlowLogger, which waits for each")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train, args.number)
        return
    rows = []
    with contextlib.ExitStack() as stack:
        if set(SERVER) & set(args.loggers):
            server = MlflowServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(server.close)
            server.wait()
        for logger in args.loggers:
            for state in args.states:
                print(f"{logger}, {state} ...", file=sys.stderr, flush=True)
                number = args.waiting_number if logger == "MLFlowLogger" else args.number
                figures = (
                    measure_azure(logger, state, number)
                    if logger in AZURE
                    else measure_server(server, logger, state, number)
                )
                rows.append(row(logger, state, number, figures))
    print(f"{machine()}\n")
    print(table(":logger | :service | metrics | µs per metric | p99 | s to the end | received | kept", rows))


def row(logger: str, state: str, number: int, figures: Figures) -> list[object]:
    """Return a row of the table."""
    counts = Counter[int](figures["steps"])
    twice = counts.total() - len(counts)
    received = f"{len(counts):,}" + (f" ({twice:,} twice)" if twice else "")
    end = "crash" if figures["crashed"] else f"{'' if figures['ended'] else '> '}{figures['end']:.1f}"
    costs = [f"{figures[name]:,.1f}".replace("inf", "stuck") for name in ("mean", "p99")]
    return [logger, state, f"{number:,}", *costs, end, received, f"{figures['kept']:,}"]


def measure_azure(logger: str, state: str, number: int) -> Figures:
    """Measure one logger in one state of the emulator."""
    with Emulator() as azure, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = azure.job_environment("run-1", mlflow=logger.endswith("MLflow"))
        if logger.startswith("AzureMLLogger"):
            azure.misbehave(**STATES[state])
            figures = run_training(logger, number, env, folder)
        else:  # the SDK by itself needs the service to begin at all: it fails from then on
            figures = run_training(logger, number, env, folder, when_ready=lambda: azure.misbehave(**STATES[state]))
        figures["steps"] = [one.step for one in azure.metrics("run-1")]
        return figures | {"kept": kept(folder)}


def measure_server(server: MlflowServer, logger: str, state: str, number: int) -> Figures:
    """Measure one logger in one state of an MLflow server, which is healthy until the first metric."""
    server.stored.clear()
    run_id = server.new_run()
    env = os.environ | {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_RUN_ID": run_id}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        figures = run_training(logger, number, env, folder, lambda: server.misbehave(**STATES[state]))
        server.behave()
        return figures | {"steps": [step for _, step in server.stored], "kept": kept(folder)}


def kept(folder: str) -> int:
    """Return how many metrics lie below a folder, ready for `replay`."""
    return sum(pending(path) for path in Path(folder).glob("**/azureml-metrics/*-metrics.jsonl"))


def run_training(
    logger: str, number: int, env: dict[str, str], folder: str, when_ready: Callable[[], object] = lambda: None
) -> Figures:
    """Run a training process; call `when_ready` before its first metric.

    Returns:
        What `train` writes; `end`, the seconds from its last metric to its end; whether it `ended` by itself.
    """
    command = [sys.executable, "-m", "scripts.benchmarks.logger", "--train", logger, "--number", str(number)]
    env, pipe = env | {"PYTHONPATH": str(ROOT)}, subprocess.PIPE
    with subprocess.Popen(command, env=env, cwd=folder, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        when_ready()
        process.stdin.write(b"\n")
        process.stdin.flush()
        began = time.monotonic()
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        line = process.stdout.readline()
        patience.cancel()
        last, ended = time.monotonic() if line else began, bool(line)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            ended = False
        figures = json.loads(line) if line else {"mean": math.inf, "p99": math.inf, "crashed": False}
        return figures | {"end": time.monotonic() - last, "ended": ended}


def train(logger: str, number: int) -> None:
    """Run the training process: log, write the costs to stdout, end as a script ends."""
    log, end = begin(logger)
    print("ready", flush=True)
    sys.stdin.readline()
    costs, error = [], None
    for step in range(number):
        before = time.perf_counter_ns()
        try:
            log(step)
        except Exception as failed:  # it would end the training
            error = failed
        costs.append((time.perf_counter_ns() - before) / 1000)
        if error:
            break
    figures = {"mean": sum(costs) / len(costs), "p99": sorted(costs)[int(0.99 * len(costs))], "crashed": bool(error)}
    print(json.dumps(figures), flush=True)
    if error:
        raise error
    end()


def begin(logger: str) -> tuple[Callable[[int], object], Callable[[], object]]:
    """Return what logs a step's metric, and what ends the logging."""
    if logger.startswith("Run.log"):
        from azureml.core import Run

        run = Run.get_context()
        flush = run.flush if logger == "Run.log, flush" else (lambda: None)
        return lambda step: run.log("loss", 1.0 / (step + 1), step=step), flush
    own: Any
    if logger.startswith("MLFlowLogger"):
        from pytorch_lightning.loggers import MLFlowLogger

        run_id, waits = os.environ["MLFLOW_RUN_ID"], not logger.endswith("async")
        own = MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"], run_id=run_id, synchronous=waits)
        own.experiment  # noqa: B018  # opens the run, before the clock starts
    else:
        from lightning_cifar import AzureMLLogger

        own = AzureMLLogger(workspace=os.environ["MLFLOW_TRACKING_URI"] if logger.endswith("server") else None)
    return lambda step: own.log_metrics({"loss": 1.0 / (step + 1)}, step), lambda: own.finalize("success")


if __name__ == "__main__":
    main()
