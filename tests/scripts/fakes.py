"""A run without any SDK, for what stands above `scripts.azure.submitter`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.azure.submitter import Curves, RunDetails

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
