"""Catches up after a long outage: how quickly what has piled up is sent, and in how much memory.

    python -m scripts.benchmarks.outage [--entries 10000000 --backend mlflow]

A record of so many entries, of ten metrics, of which the service has nothing; then the emulator is healthy, and a relay
sends them while the training goes on. With all ten million the emulator itself holds several GB.
"""

import argparse
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lightning_cifar.azure.lines import seal
from lightning_cifar.azure.outbox import Outbox, Progress
from lightning_cifar.azure.process import start_relay
from lightning_cifar.azure.run import RunAddress
from scripts.benchmarks.timing import machine, table
from scripts.emulator import Emulator

NAMES = 10


def main() -> None:
    """Write the record, let a relay send it, and print how long that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000, help="default: %(default)s")
    parser.add_argument("--backend", choices=("v1", "mlflow"), default="v1", help="default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Emulator() as azure:
        env = azure.job_environment("run-1", mlflow=args.backend == "mlflow")
        names = azure.workspace.name, azure.workspace.resource_group, azure.workspace.subscription_id
        address = RunAddress("run-1", "cifar10", *names, tracking_uri=env.get("MLFLOW_TRACKING_URI", ""))
        record = write(Path(folder) / "a-metrics.jsonl", address, args.backend, args.entries)
        row = [args.backend, f"{args.entries:,}", f"{record.stat().st_size / 1e6:,.0f}"]
        relay = start_relay(record, seconds=0.0, variables=env | {"TMPDIR": folder})
        try:
            row += catch_up(azure, record, relay.pid, args.entries)
        finally:
            relay.kill()
            relay.wait()
        received = sum(len(series.values) for series in azure.run("run-1").metrics.values())
    print(f"{machine()}\n")
    print(table(":backend | entries | MB on disk | metrics/s | s | MB in memory | received", [[*row, f"{received:,}"]]))


def write(path: Path, address: RunAddress, backend: str, entries: int) -> Path:
    """Write a record as a training does, a step at a time."""
    outbox = Outbox(path, address, backend, max_bytes=sys.maxsize)
    for step in range(entries // NAMES):
        values = f'"value": {1 / (step + 1)}, "step": {step}, "time": {1_700_000_000 + step}'
        outbox.append("".join(seal(f'{{"metric": "m{number}", {values}}}') for number in range(NAMES)))
    outbox.close()
    return path


def catch_up(azure: Emulator, record: Path, relay: int, entries: int) -> list[str]:
    """Wait until a relay has sent a record; return metrics per second, seconds, and the peak of memory in MB."""
    size, began, most, shown = record.stat().st_size, time.monotonic(), 0.0, 0.0
    while (offset := Progress.read(record).offset) < size:
        most = max(most, sum(memory(pid) for pid in (relay, *children(relay))))
        with azure.state.lock:
            azure.state.requests.clear()  # it remembers all of them
        if time.monotonic() > shown + 10:
            shown = time.monotonic()
            print(f"{100 * offset / size:.1f} %, {most / 1e6:.0f} MB", file=sys.stderr, flush=True)
        time.sleep(0.5)
    seconds = time.monotonic() - began
    return [f"{entries / seconds:,.0f}", f"{seconds:,.0f}", f"{most / 1e6:,.0f}"]


def memory(pid: int) -> int:
    """Return a process's share of the memory: what it has for itself, and its part of what it shares."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def children(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started: of a relay, its attempt."""
    with contextlib.suppress(OSError):
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


if __name__ == "__main__":
    main()
