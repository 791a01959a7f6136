"""A workspace, its runs and its datastore without any SDK, for what stands above `scripts.azure.submitter`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_cifar.errors import UserError
from scripts.azure import preflight
from scripts.azure.job import DatastorePath, Job
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import Curves, RunDetails, not_there

LOG = "user_logs/std_log.txt"


def details(status: str, *logs: str, reason: str = "") -> RunDetails:
    return RunDetails(status, reason, list(logs), datetime(2026, 1, 1, 12, tzinfo=UTC), None)


@dataclass
class FakeRun:
    """A run whose states come one after the other; the last one stays. An exception among them is raised."""

    id: str = "run-1"
    states: list[Any] = field(default_factory=lambda: [details("Running", LOG), details("Completed", LOG)])
    logs: dict[str, bytes] = field(default_factory=lambda: {LOG: b"a line\n"})
    curves: Curves = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    display_name: str = ""
    studio_url: str = "https://ml.azure.com/runs/run-1"
    canceled: bool = False
    models: list[tuple[str, str]] = field(default_factory=list)

    def details(self) -> RunDetails:
        if self.canceled:
            return details("Canceled", *self.logs)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, BaseException):
            raise state
        return state

    def log(self, name: str, offset: int = 0) -> bytes:
        return self.logs[name][offset:]

    def cancel(self) -> None:
        self.canceled = True

    def metrics(self, names: Sequence[str] | None = None) -> Curves:
        return {name: points for name, points in self.curves.items() if names is None or name in names}

    def files(self) -> list[str]:
        return list(self.artifacts)

    def download(self, folder: Path) -> None:
        for name, content in self.artifacts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def register_model(self, name: str, path: str) -> str:
        self.models.append((name, path))
        return str(len(self.models))


@dataclass
class FakeStore:
    """A datastore in memory; `broken_after` uploads it refuses."""

    name: str = "store"
    is_blob_storage: bool = True
    contents: dict[str, tuple[int, bytes | None]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    broken_after: int = 1000

    def holds(self, prefix: str) -> bool:
        return any(path.startswith(prefix) for path in self.contents)

    def files(self, prefix: str) -> dict[str, tuple[int, bytes | None]]:
        return {path: file for path, file in self.contents.items() if path.startswith(prefix)}

    def upload(self, path: str, content: bytes, md5: bytes) -> None:
        if len(self.uploads) >= self.broken_after:
            raise UserError("not allowed: the upload; call it again to go on")
        self.uploads.append(path)
        self.contents[path] = (len(content), md5)


@dataclass
class FakeAzure:
    """A workspace; `events` keeps what happened in which order."""

    workspace: str = "fake"
    run: FakeRun = field(default_factory=FakeRun)
    store: FakeStore = field(default_factory=FakeStore)
    events: list[Any] = field(default_factory=list)
    known: dict[str, FakeRun] = field(default_factory=dict)
    submitted: list[tuple[Job, Snapshot]] = field(default_factory=list)

    @staticmethod
    def describe(job: Job) -> str:
        return f"command: {job.command('DATA')}"

    def connect(self, address: Any, auth: str) -> "FakeAzure":
        self.events.append("connect")
        return self

    def check(self, job: Job) -> Job:
        self.events.append("check")
        computes = {
            "cpu-cluster": preflight.Compute("STANDARD_DS3_V2", 4),
            "gpu-cluster": preflight.Compute("STANDARD_NC6S_V3", 4),
        }
        job = replace(job, gpu=preflight.check_compute(job, computes, self.workspace))
        if isinstance(job.data, DatastorePath):
            job = replace(job, data_is_archive=preflight.check_data(self.datastore(job.data.datastore), job.data))
        return job

    def submit(self, job: Job, snapshot: Snapshot) -> FakeRun:
        self.events.append("submit")
        self.submitted.append((job, snapshot))
        return self.run

    def runs(self, experiment: str, number: int) -> list[FakeRun]:
        return list(self.known.values())[:number]

    def open(self, run_id: str) -> FakeRun:
        return self.known[run_id]

    def datastore(self, name: str | None) -> FakeStore:
        if name not in (None, self.store.name):
            raise not_there(f"datastore {name!r}", self.workspace, [self.store.name])
        return self.store
