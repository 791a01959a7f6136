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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import requests

from scripts.benchmarks.timing import machine, table

ROOT = Path(__file__).parents[2]
DELAY = 0.2
LATE = f"+{DELAY * 1000:.0f} ms per request"
# state → arguments of Emulator.misbehave
STATES: dict[str, dict[str, Any]] = {
    "healthy": {},
    LATE: {"kind": "latency", "delay": DELAY},
    "five 429s": {"kind": "429", "requests": 5, "on": "/batch"},
    "five 500s": {"kind": "500", "requests": 5, "on": "/batch"},
    "always 400": {"kind": "400", "on": "metrics"},
    "always 429": {"kind": "429", "on": "metrics"},
    "always 500": {"kind": "500", "on": "metrics"},
    "dropped": {"kind": "drop"},
    "stored, then dropped": {"kind": "store-and-drop", "requests": 5, "on": "/batch"},
    "never answering": {"kind": "silence"},
    "dead": {"kind": "refuse"},
}
LOGGERS = ("AzureMLLogger", "Run.log", "Run.log, flush")
PATIENCE = 90.0
"""Seconds after which a process is killed: where the service does not recover, `Run.flush` goes on for hours."""


class Result(NamedTuple):
    """What a training process did: µs per metric in its thread; seconds from its last metric to its end."""

    costs: dict[str, Any]
    end: float
    ended: bool

    def row(self, logger: str, state: str, number: int, steps: list[Any], kept: int) -> list[object]:
        """Return a row of the table; `steps` are the metrics that arrived."""
        twice = len(steps) - len(set(steps))
        received = f"{len(set(steps)):,}" + (f" ({twice:,} twice)" if twice else "")
        cost = [f"{self.costs[name]:,.1f}" for name in ("mean", "p99")]
        return [
            logger,
            state,
            f"{number:,}",
            *cost,
            f"{'' if self.ended else '> '}{self.end:.1f}",
            received,
            f"{kept:,}",
        ]


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
    rows, summaries = [], []
    for logger in args.loggers:
        for state in args.states:
            print(f"{logger}, {state} ...", file=sys.stderr, flush=True)
            row, summary = measure_azure(logger, state, args.number)
            rows.append(row)
            summaries += [summary] if logger == "AzureMLLogger" else []
    if args.mlflow_python:
        rows.append(measure_mlflow(args.mlflow_python, args.mlflow_number))
    print(f"{machine()}\n")
    print(table(":logger | :service | metrics | µs per metric | p99 | s to the end | received | kept", rows))
    print("\n" + "\n".join(summaries))


def measure_azure(logger: str, state: str, number: int) -> tuple[list[object], str]:
    """Measure one logger in one state of the emulator; return a row of the table, and a sentence."""
    from lightning_cifar.azure.outbox import pending
    from scripts.emulator import Emulator

    with Emulator() as azure, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = azure.job_environment("run-1")

        def misbehave() -> None:
            if STATES[state]:
                azure.misbehave(**STATES[state])

        if logger == "AzureMLLogger":
            misbehave()
            result = run_training(logger, number, env, folder)
        else:  # the SDK by itself needs the service to begin at all: it fails from then on
            result = run_training(logger, number, env, folder, when_ready=misbehave)
        metrics = azure.metrics("run-1")
        kept = sum(pending(path) for path in Path(folder).glob("outputs/azureml-metrics/*-metrics.jsonl"))
    mean, seconds = result.costs["mean"], ""
    if metrics:
        seconds = f" within {metrics[-1].arrived - result.costs['begun']:.1f} s of the first call"
    return result.row(logger, state, number, [one.step for one in metrics], kept), (
        f"{logger}, {state}: the training thread pays {mean:.1f} µs per metric, {mean * number / 1000:.0f} ms in all; "
        f"{len(metrics):,} of {number:,} metrics arrive{seconds}."
    )


def run_training(
    logger: str,
    number: int,
    env: dict[str, str],
    folder: str,
    python: str = sys.executable,
    when_ready: Callable[[], object] = lambda: None,
) -> Result:
    """Run a training process; call `when_ready` before its first metric."""
    command = [python, "-m", "scripts.benchmarks.logger", "--train", logger, "--number", str(number)]
    with subprocess.Popen(
        command,
        env=env | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        when_ready()
        process.stdin.write("\n")
        process.stdin.flush()
        costs = json.loads(process.stdout.readline())
        try:
            process.wait(max(1.0, costs["last"] + PATIENCE - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return Result(costs, PATIENCE, ended=False)
        return Result(costs, time.monotonic() - costs["last"], ended=True)


def train(logger: str, number: int) -> None:
    """Run the training process: log, write the costs to stdout, end as a script ends."""
    log, end, run_id = begin(logger)
    print("ready", flush=True)
    sys.stdin.readline()
    begun, costs = time.monotonic(), []
    for step in range(number):
        before = time.perf_counter_ns()
        log(step)
        costs.append((time.perf_counter_ns() - before) / 1000)
    result = {"mean": sum(costs) / number, "p99": sorted(costs)[int(0.99 * number)], "run": run_id}
    print(json.dumps(result | {"begun": begun, "last": time.monotonic()}), flush=True)
    end()


def begin(logger: str) -> tuple[Callable[[int], object], Callable[[], object], str]:
    """Return what logs a step's metric, what ends the logging, and MLflow's run id."""
    if logger.startswith("Run.log"):
        from azureml.core import Run

        run = Run.get_context()
        flush = run.flush if logger == "Run.log, flush" else (lambda: None)
        return (lambda step: run.log("loss", 1.0 / (step + 1), step=step)), flush, ""
    own: Any
    if logger == "MLFlowLogger":
        from pytorch_lightning.loggers import MLFlowLogger

        delay_requests()
        own = MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
        _ = own.experiment  # a connection and a run, before the clock starts
    else:
        from lightning_cifar import AzureMLLogger

        own = AzureMLLogger()
    return (
        lambda step: own.log_metrics({"loss": 1.0 / (step + 1)}, step),
        lambda: own.finalize("success"),
        str(own.version),
    )


def delay_requests() -> None:
    """Wait before every HTTP request of this process."""
    send = requests.Session.send

    def late(*args: Any, **kwargs: Any) -> requests.Response:
        time.sleep(DELAY)
        return send(*args, **kwargs)

    requests.Session.send = late  # type: ignore[method-assign]


def measure_mlflow(python: str, number: int) -> list[object]:
    """Measure MLFlowLogger against an MLflow server; return a row of the table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
        log = Path(folder, "server.log")
        with log.open("w") as stream:
            server = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, start_new_session=True)
        try:
            wait_for_server(url, server, log)
            result = run_training("MLFlowLogger", number, os.environ | {"MLFLOW_TRACKING_URI": url}, folder, python)
            wanted = {"run_id": result.costs["run"], "metric_key": "loss", "max_results": "25000"}
            history = requests.get(f"{url}/api/2.0/mlflow/metrics/get-history", wanted, timeout=60).json()
        finally:
            os.killpg(server.pid, 15)
            server.wait()
    return result.row("MLFlowLogger", LATE, number, [point["step"] for point in history.get("metrics", [])], 0)


def wait_for_server(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the MLflow server answers.

    Raises:
        SystemExit: it ended, or did not answer within two minutes; what it printed is shown.
    """
    until = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < until:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    sys.exit(f"the MLflow server did not start:\n{log.read_text()[-2000:]}")


if __name__ == "__main__":
    main()
