"""What logging costs, and what arrives, in every state of the service: `python -m scripts.benchmarks.logger`.

Each row is a training process of its own that logs metrics one call at a time, as fast as it can, and then
ends; the service is the loopback Azure ML on this machine. Beside `AzureMLLogger` stand `Run.log` as the
tutorial uses it, the same with `Run.flush` at the end, and Lightning's MLFlowLogger against an MLflow server
with the same delay (skipped if mlflow is not installed in the interpreter given by `--mlflow-python`). Prints
a Markdown table; `--json FILE` keeps the numbers.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lightning_cifar.azure.outbox import pending
from scripts.emulator import Emulator

REPOSITORY = Path(__file__).parents[2]
DELAY = 0.2
# state → what the emulator is told
STATES: dict[str, dict[str, Any]] = {
    "healthy": {},
    "+200 ms per request": {"kind": "latency", "delay": DELAY},
    "five 429s": {"kind": "429", "requests": 5, "on": "/batch"},
    "five 500s": {"kind": "500", "requests": 5, "on": "/batch"},
    "always 429": {"kind": "429", "on": "metrics"},
    "always 500": {"kind": "500", "on": "metrics"},
    "refused": {"kind": "refuse"},
    "never answering": {"kind": "silence"},
    "stored, then dropped": {"kind": "store-and-drop", "requests": 5, "on": "/batch"},
}
# `Run.log` alone goes on for hours where the service does not recover; it is ended after this.
PATIENCE_SECONDS = 90.0


@dataclass
class Row:
    """One measurement: costs in µs per metric in the training thread, `end` in seconds after the last one."""

    logger: str
    state: str
    metrics: int
    mean: float
    p99: float
    end: float
    ended: bool
    received: int
    distinct: int
    kept: int


def measure(log: Any, number: int) -> dict[str, Any]:
    """Log `number` metrics one at a time and return what that cost, and when it was over."""
    costs = []
    for step in range(number):
        began = time.perf_counter_ns()
        log(step)
        costs.append((time.perf_counter_ns() - began) / 1000)
    costs.sort()
    return {"mean": sum(costs) / number, "p99": costs[int(0.99 * number)], "last": time.time()}


def train(logger_name: str, number: int) -> None:
    """Be the training process: log, write the costs to stdout, end as a script ends."""
    if logger_name.startswith("Run.log"):
        from azureml.core import Run

        run = Run.get_context()
        ready()
        result = measure(lambda step: run.log("loss", 1.0 / (step + 1), step=step), number)
    elif logger_name == "MLFlowLogger":
        from pytorch_lightning.loggers import MLFlowLogger

        mlflow = MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
        _ = mlflow.experiment  # a connection and a run, before the clock starts
        ready()
        result = measure(lambda step: mlflow.log_metrics({"loss": 1.0 / (step + 1)}, step), number)
        result["run"] = mlflow.version
    else:
        from lightning_cifar import AzureMLLogger

        logger = AzureMLLogger()
        ready()
        result = measure(lambda step: logger.log_metrics({"loss": 1.0 / (step + 1)}, step), number)
    print(json.dumps(result), flush=True)
    if logger_name == "MLFlowLogger":
        mlflow.finalize("success")
    elif logger_name == "AzureMLLogger":
        logger.finalize("success")
    elif logger_name == "Run.log, flush":
        run.flush()


def ready() -> None:
    """Say that the training could begin, and wait until it may."""
    print("ready", flush=True)
    sys.stdin.readline()


def run_training(
    logger_name: str,
    number: int,
    env: dict[str, str],
    folder: str,
    python: str = sys.executable,
    when_ready: Callable[[], object] = lambda: None,
) -> tuple[dict[str, Any], float, bool]:
    """Run a training process; return its costs, the seconds that it took to end, and whether it did so."""
    command = [python, "-m", "scripts.benchmarks.logger", "--train", logger_name, "--number", str(number)]
    env = env | {"PYTHONPATH": str(REPOSITORY)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=env, cwd=folder, **pipes) as process:  # type: ignore[call-overload]  # a dict
        threading.Thread(target=process.stderr.read, daemon=True).start()
        process.stdout.readline()
        when_ready()
        process.stdin.write(b"\n")
        process.stdin.flush()
        result = json.loads(process.stdout.readline())
        try:
            process.wait(max(1.0, result["last"] + PATIENCE_SECONDS - time.time()))
            ended = True
        except subprocess.TimeoutExpired:
            process.kill()
            ended = False
        return result, time.time() - result["last"], ended


def benchmark(logger_name: str, state: str, number: int) -> Row:
    """Measure one logger in one state of the emulator."""
    with Emulator() as azure, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = azure.job_environment("run-1")

        def misbehave() -> None:
            if STATES[state]:
                azure.misbehave(**STATES[state])

        if logger_name == "AzureMLLogger":
            misbehave()
            result, end, ended = run_training(logger_name, number, env, folder)
        else:  # the SDK by itself needs the service to begin at all: it fails from then on
            result, end, ended = run_training(logger_name, number, env, folder, when_ready=misbehave)
        time.sleep(0.5)
        points = [(m.name, m.step) for m in azure.metrics("run-1")]
        kept = sum(pending(path) for path in Path(folder).glob("outputs/azureml-metrics/*-metrics.jsonl"))
    return Row(
        logger_name,
        state,
        number,
        result["mean"],
        result["p99"],
        end,
        ended,
        len(points),
        len(set(points)),
        kept,
    )


class _Delay(BaseHTTPRequestHandler):
    """Passes requests on to the MLflow server after `DELAY`."""

    protocol_version = "HTTP/1.1"
    port = 0

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(DELAY)
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _pass_on  # noqa: N815  # names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def benchmark_mlflow(python: str, number: int) -> Row | None:
    """Measure MLFlowLogger against an MLflow server behind a delay; None without mlflow."""
    if subprocess.run([python, "-c", "import mlflow.server"], capture_output=True).returncode != 0:
        print(f"mlflow is not installed for {python}: its row is left out (pip install mlflow)", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Delay)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        _Delay.port = _free_port()
        command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(_Delay.port)]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
        server = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait_for_server(_Delay.port)
            env = dict(os.environ) | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{proxy.server_port}"}
            result, end, ended = run_training("MLFlowLogger", number, env, folder, python)
            steps = _steps_at_mlflow(_Delay.port, result["run"])
        finally:
            os.killpg(server.pid, 15)
            server.wait()
            proxy.shutdown()
    state = "+200 ms per request"
    return Row("MLFlowLogger", state, number, result["mean"], result["p99"], end, ended, len(steps), len(set(steps)), 0)


def _steps_at_mlflow(port: int, run: str) -> list[int]:
    """Ask the MLflow server, without the delay, for the steps of the metric that it holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss&max_results=25000")
    return [int(point["step"]) for point in json.loads(connection.getresponse().read()).get("metrics", [])]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_server(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the MLflow server did not start within 120 s")


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| logger | service | metrics | µs per metric | p99 | s to the end | received | kept |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        received = f"{row.distinct:,}" + (
            f" ({row.received - row.distinct:,} twice)" if row.received > row.distinct else ""
        )
        end = f"{row.end:.1f}" if row.ended else f"> {row.end:.0f}"
        lines.append(
            f"| {row.logger} | {row.state} | {row.metrics:,} | {row.mean:,.1f} | {row.p99:,.1f} | {end} "
            f"| {received} | {row.kept:,} |"
        )
    return "\n".join(lines)


def keep(rows: list[Row], file: Path | None) -> None:
    """Write what has been measured so far, if a file was given."""
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000, help="metrics per row (default: %(default)s)")
    parser.add_argument("--mlflow-number", type=int, default=100, help="for MLFlowLogger, which waits for each")
    parser.add_argument("--mlflow-python", default=sys.executable, help="an interpreter that has mlflow and Lightning")
    parser.add_argument("--states", nargs="+", choices=STATES, default=list(STATES))
    parser.add_argument("--json", type=Path, help="keep the numbers in this file")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train, args.number)
        return
    plan = [(name, state) for name in ("AzureMLLogger", "Run.log", "Run.log, flush") for state in args.states]
    rows = []
    for logger_name, state in plan:
        print(f"{logger_name}, {state} ...", file=sys.stderr, flush=True)
        rows.append(benchmark(logger_name, state, args.number))
        keep(rows, args.json)
    row = benchmark_mlflow(args.mlflow_python, args.mlflow_number)
    rows += [row] if row is not None else []
    keep(rows, args.json)
    print(table(rows))


if __name__ == "__main__":
    main()
