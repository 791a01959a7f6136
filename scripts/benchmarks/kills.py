"""Kills training, relay or attempt at random points, over and over, and checks that nothing is lost or sent twice.

    python -m scripts.benchmarks.kills [--kills 1000 --metrics 100000 --backend mlflow --seed 7]

Every ten kills share a run: a training process that logs a metric at a time, and that another one follows where it was
killed; its relay, which it starts again; the relay's attempt. After each kill holds: all that was logged is on the
disk, once; what is confirmed is at the service; the service has nothing twice. At the end of each run `replay` sends
what is left, and the service has exactly what was logged. The service is the emulator, the SDKs are unmodified.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_cifar.azure.outbox import Progress, pending, read_entries
from scripts.benchmarks import hurried_relay
from scripts.benchmarks.timing import machine, table

ROOT = Path(__file__).parents[2]
KINDS = ("training", "relay", "attempt")
PER_RUN = 10
PATIENCE = 300.0
"""Seconds after which something that should happen counts as failed."""
LOGGED, WANTED = 0, 1
"""Places of two counts of metrics: those that are logged, and how many are to be; negative: these, and no more."""
_REPLAY = """
from lightning_cifar.azure import replay
from scripts.benchmarks import hurried_relay
hurried_relay.hurry()
replay.main()
"""

Job = Callable[[str], dict[str, str]]
"""Returns the environment of the job of a run."""
Received = Callable[[str], list[tuple[str, int, float]]]
"""Returns the points that the service has of a run: name, step, value."""


def main() -> None:
    """Kill, check, and print how often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--metrics", type=int, default=100_000, help="at least (default: %(default)s)")
    parser.add_argument("--backend", choices=("v1", "mlflow"), default="v1", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the kinds and points of the kills")
    parser.add_argument("--host", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.host:
        host()
        return
    from scripts.emulator import Emulator

    with Emulator() as azure, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def job(run_id: str) -> dict[str, str]:
            return azure.job_environment(run_id, mlflow=args.backend == "mlflow") | {hurried_relay.IN_FLIGHT: "1"}

        def received(run_id: str) -> list[tuple[str, int, float]]:
            return [(metric.name, metric.step or 0, metric.value) for metric in azure.metrics(run_id)]

        killed, metrics = campaign(Path(folder), args.backend, job, received, args.kills, args.metrics, args.seed)
    print(f"{machine()}\n")
    row = [args.backend, args.seed, f"{metrics:,}", *(f"{killed[kind]:,}" for kind in KINDS), 0, 0]
    print(table(":backend | seed | metrics | training killed | relay | attempt | lost | twice", [row]))


def campaign(
    folder: Path, backend: str, job: Job, received: Received, kills: int, metrics: int, seed: int
) -> tuple[Counter[str], int]:
    """Kill so many times; return how many of each kind, and the number of metrics, which is at least `metrics`.

    Raises:
        AssertionError: something was lost, there twice, or made up; what it says names the run's folder.
    """
    chance, killed, logged = random.Random(seed), Counter[str](), 0
    command = [sys.executable, "-m", "scripts.benchmarks.kills", "--host"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainings:
        for number in range(0, kills, PER_RUN):
            run = _Run(folder / f"run-{number}", trainings, backend, job, received)
            for _ in range(min(PER_RUN, kills - number)):
                killed[run.kill(chance, metrics // kills)] += 1
            logged += run.finish()
            print(f"{killed.total():,} kills", file=sys.stderr, flush=True)
    return killed, logged


def _counts(folder: Path) -> NDArray[np.int64]:
    """Return the counts of a run, in memory that a kill does not take."""
    return np.memmap(folder / "counts", np.int64, "r+")


class _Run:
    """One run, and the training process that logs to it at the moment."""

    def __init__(
        self, folder: Path, trainings: "subprocess.Popen[bytes]", backend: str, job: Job, received: Received
    ) -> None:
        self._folder, self._id, self._trainings, self._backend = folder, folder.name, trainings, backend
        self._env, self._received = job(folder.name), received
        (folder / "shared").mkdir(parents=True)
        self._env["TMPDIR"] = str(folder / "shared")
        (folder / "counts").write_bytes(bytes(16))
        self._counts = _counts(folder)
        self._start(0)

    def kill(self, chance: random.Random, portion: int) -> str:
        """Let a portion of metrics be logged, kill one of the processes at some point of it, and check."""
        kind, first = chance.choice(KINDS), int(self._counts[WANTED])
        self._counts[WANTED] = first + portion
        point, delay = first + chance.randrange(portion), chance.uniform(0.0, 0.1)
        self._wait(lambda: self._counts[LOGGED] >= point)
        time.sleep(delay)
        while not (pid := self._pid(kind)):
            self._counts[WANTED] += 1  # a relay is started again when something is logged
            time.sleep(0.2)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if kind == "training":
            self._wait(lambda: not self._lives())
            logged, steps = int(self._counts[LOGGED]), self._recorded()
            assert len(steps) in (logged, logged + 1), f"{self._folder}: {len(steps)} of {logged} are recorded"
            self._start(len(steps))
        self._check()
        return kind

    def finish(self) -> int:
        """Let the training end, send what is left, and check that the service has exactly what was logged: so many."""
        number = int(self._counts[WANTED])
        self._counts[WANTED] = -number
        self._wait(lambda: not self._lives())
        records = [str(record) for record in self._records()]
        done = subprocess.run(
            [sys.executable, "-c", _REPLAY, "--backend", self._backend, *records],
            env=self._env | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
        )
        assert done.returncode == 0, f"{self._folder}: {done.stderr.decode()}"
        self._check()
        assert sorted(self._received(self._id)) == [("loss", step, step / 7) for step in range(number)], self._folder
        assert not any(pending(record) for record in self._records()), self._folder
        return number

    def _check(self) -> None:
        confirmed = [self._confirmed(record) for record in self._records()]
        points = self._received(self._id)
        steps = [step for _, step, _ in points]
        assert len(set(steps)) == len(steps), f"{self._folder}: {Counter(steps).most_common(3)} came twice"
        assert {step for part in confirmed for step in part} <= set(steps), f"{self._folder}: confirmed, not received"
        recorded = self._recorded()
        assert recorded == list(range(len(recorded))) and set(steps) <= set(recorded), self._folder

    def _records(self) -> list[Path]:
        return sorted(self._folder.glob("outputs/azureml-metrics/*.jsonl"))

    def _recorded(self) -> list[int]:
        found = [read_entries(record) for record in self._records()]
        return sorted(entry["step"] for entries in found for entry, _ in entries if "step" in entry)

    def _confirmed(self, record: Path) -> list[int]:
        offset = Progress.read(record).offset
        return [entry["step"] for entry, end in read_entries(record) if "step" in entry and end <= offset]

    def _start(self, first: int) -> None:
        assert self._trainings.stdin and self._trainings.stdout
        order = {"env": self._env, "folder": str(self._folder), "backend": self._backend, "first": first}
        self._trainings.stdin.write(json.dumps(order).encode() + b"\n")
        self._trainings.stdin.flush()
        self._training = int(self._trainings.stdout.readline())

    def _lives(self) -> bool:
        return Path(f"/proc/{self._training}").exists()

    def _pid(self, kind: str) -> int | None:
        """Return the process id of the training, or of the latest relay or attempt of this run."""
        if kind == "training":
            return self._training
        relays = {pid: parent for pid, parent in _processes() if self._is_relay(pid)}
        return max((pid for pid in relays if (relays[pid] in relays) == (kind == "attempt")), default=None)

    def _is_relay(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            return hurried_relay.NAME.encode() in command and f"{self._folder}/".encode() in command
        return False

    def _wait(self, condition: Callable[[], Any]) -> Any:
        until = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < until, f"{self._folder}: not so within {PATIENCE:.0f} s"
            time.sleep(0.002)
        return value


def _processes() -> Iterator[tuple[int, int]]:
    """Yield each process, with its parent; one that has ended and waits to be asked for is none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(stat.parent.name), int(parent)


def host() -> None:
    """Fork a training process for each line of stdin, and write its process id: Lightning is imported once."""
    from lightning_cifar import AzureMLLogger

    hurried_relay.hurry()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for those that have ended
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(order["env"])
            os.chdir(order["folder"])
            tempfile.tempdir = order["env"]["TMPDIR"]
            with Path("training.log").open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            _train(AzureMLLogger(backend=order["backend"]), order["first"])
            os._exit(0)
        print(pid, flush=True)


def _train(logger: Any, step: int) -> None:
    counts = _counts(Path())
    counts[LOGGED] = step
    while counts[WANTED] >= 0 or step < -counts[WANTED]:
        if step < abs(counts[WANTED]):
            logger.log_metrics({"loss": step / 7}, step)
            step = counts[LOGGED] = step + 1
        else:
            time.sleep(0.001)
    logger.close()


if __name__ == "__main__":
    main()
