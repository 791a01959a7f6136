"""What logging costs, and what arrives, in every state of the service.

    python -m scripts.benchmarks.logger [--mlflow-python PYTHON --mlflow-number N]

Each row is a training process of its own that logs metrics one call at a time, as fast as it can, and then ends; the
service is the emulator. Beside `AzureMLLogger` stand `Run.log` as the tutorial uses it, the same with `Run.flush` at
the end, and Lightning's MLFlowLogger against an MLflow server, with the same delay before each request.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.benchmarks.timing import machine, table

ROOT = Path(__file__).parents[2]
DELAY = 0.2
LATE = f"+{DELAY * 1000:.0f} ms per request"
# state → arguments of Emulator.misbehave
STATES: dict[str, dict[str, Any]] = {
    "healthy": {"kind": "latency", "delay": 0},
    LATE: {"kind": "latency", "delay": DELAY},
    "five 429s": {"kind": "429", "requests": 5, "on": "/batch"},
    "five 500s": {"kind": "500", "requests": 5, "on": "/batch"},
    "always 429": {"kind": "429", "on": "metrics"},
    "always 500": {"kind": "500", "on": "metrics"},
    "refused": {"kind": "refuse"},
    "never answering": {"kind": "silence"},
    "stored, then dropped": {"kind": "store-and-drop", "requests": 5, "on": "/batch"},
}
LOGGERS = ("AzureMLLogger", "Run.log", "Run.log, flush")
PATIENCE = 90.0
"""Seconds after which a process is killed: where the service does not recover, `Run.flush` goes on for hours."""

Figures = dict[str, Any]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000, help="metrics per row (default: %(default)s)")
    parser.add_argument("--states", nargs="+", choices=STATES, default=list(STATES))
    parser.add_argument("--loggers", nargs="+", choices=LOGGERS, default=list(LOGGERS))
    parser.add_argument("--mlflow-python", metavar="PYTHON", help="an interpreter that has mlflow and Lightning")
    parser.add_argument("--mlflow-number", type=int, default=100, help="for MLFlowLogger, which waits for each")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train, args.number)
        return
    rows = []
    for logger in args.loggers:
        for state in args.states:
            print(f"{logger}, {state} ...", file=sys.stderr, flush=True)
            rows.append(row(logger, state, args.number, measure_azure(logger, state, args.number)))
    if args.mlflow_python:
        figures = measure_mlflow(args.mlflow_python, args.mlflow_number)
        rows.append(row("MLFlowLogger", LATE, args.mlflow_number, figures))
    print(f"{machine()}\n")
    print(table(":logger | :service | metrics | µs per metric | p99 | s to the end | received | kept", rows))


def row(logger: str, state: str, number: int, figures: Figures) -> list[object]:
    """Return a row of the table."""
    counts = Counter[int](figures["steps"])
    twice = counts.total() - len(counts)
    received = f"{len(counts):,}" + (f" ({twice:,} twice)" if twice else "")
    end = f"{'' if figures['ended'] else '> '}{figures['end']:.1f}"
    costs = [f"{figures[name]:,.1f}" for name in ("mean", "p99")]
    return [logger, state, f"{number:,}", *costs, end, received, f"{figures['kept']:,}"]


def measure_azure(logger: str, state: str, number: int) -> Figures:
    """Measure one logger in one state of the emulator."""
    from lightning_cifar.azure.outbox import pending
    from scripts.emulator import Emulator

    with Emulator() as azure, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = azure.job_environment("run-1")
        if logger == "AzureMLLogger":
            azure.misbehave(**STATES[state])
            figures = run_training(logger, number, env, folder)
        else:  # the SDK by itself needs the service to begin at all: it fails from then on
            figures = run_training(logger, number, env, folder, when_ready=lambda: azure.misbehave(**STATES[state]))
        figures["steps"] = [one.step for one in azure.metrics("run-1")]
        figures["kept"] = sum(pending(path) for path in Path(folder).glob("outputs/azureml-metrics/*-metrics.jsonl"))
        return figures


def measure_mlflow(python: str, number: int) -> Figures:
    """Measure MLFlowLogger against an MLflow server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
        server = subprocess.Popen(command, cwd=folder, stdout=sys.stderr, start_new_session=True)
        try:
            env = os.environ | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
            return run_training("MLFlowLogger", number, env, folder, python) | {"kept": 0}
        finally:
            os.killpg(server.pid, 15)
            server.wait()


def run_training(
    logger: str,
    number: int,
    env: dict[str, str],
    folder: str,
    python: str = sys.executable,
    when_ready: Callable[[], object] = lambda: None,
) -> Figures:
    """Run a training process; call `when_ready` before its first metric.

    Returns:
        What `train` writes; `end`, the seconds from its last metric to its end; whether it `ended` by itself.
    """
    command = [python, "-m", "scripts.benchmarks.logger", "--train", logger, "--number", str(number)]
    env, pipe = env | {"PYTHONPATH": str(ROOT)}, subprocess.PIPE
    with subprocess.Popen(command, env=env, cwd=folder, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        when_ready()
        process.stdin.write(b"\n")
        process.stdin.flush()
        figures = json.loads(process.stdout.readline())
        last, ended = time.monotonic(), True
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            ended = False
        return figures | {"end": time.monotonic() - last, "ended": ended}


def train(logger: str, number: int) -> None:
    """Run the training process: log, write the costs to stdout, end as a script ends."""
    log, end, arrived = begin(logger)
    print("ready", flush=True)
    sys.stdin.readline()
    costs = []
    for step in range(number):
        before = time.perf_counter_ns()
        log(step)
        costs.append((time.perf_counter_ns() - before) / 1000)
    figures = {"mean": sum(costs) / number, "p99": sorted(costs)[int(0.99 * number)], "steps": arrived()}
    print(json.dumps(figures), flush=True)
    end()


def begin(logger: str) -> tuple[Callable[[int], object], Callable[[], object], Callable[[], list[int]]]:
    """Return what logs a step's metric, what ends the logging, and what asks an MLflow server for the steps."""
    if logger.startswith("Run.log"):
        from azureml.core import Run

        run = Run.get_context()
        flush = run.flush if logger == "Run.log, flush" else (lambda: None)
        return lambda step: run.log("loss", 1.0 / (step + 1), step=step), flush, list
    own: Any
    if logger == "MLFlowLogger":
        from pytorch_lightning.loggers import MLFlowLogger

        own = MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
        client, run_id = own.experiment, own.run_id  # before the clock starts: a run, once the server is up
        delay_requests()

        def arrived() -> list[int]:
            return [metric.step for metric in client.get_metric_history(run_id, "loss")]

    else:
        from lightning_cifar import AzureMLLogger

        own, arrived = AzureMLLogger(), list
    return lambda step: own.log_metrics({"loss": 1.0 / (step + 1)}, step), lambda: own.finalize("success"), arrived


def delay_requests() -> None:
    """Wait before every HTTP request of this process."""
    import requests

    send = requests.Session.send

    def late(*args: Any, **kwargs: Any) -> requests.Response:
        time.sleep(DELAY)
        return send(*args, **kwargs)

    requests.Session.send = late  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
