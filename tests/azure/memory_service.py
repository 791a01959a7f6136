"""A service in this process's memory, and an attempt at it: thousands of records are sent to it in seconds."""

import math
import os
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from lightning_cifar.azure import attempt
from lightning_cifar.azure.attempt import Attempt, Flags
from lightning_cifar.azure.outbox import read_header


class MemoryService:
    """What has arrived: `arrived` as (name, step, value), `files` by content; it checks what else it is given.

    It is also the class of its backend, for `Attempt`.
    """

    token = None

    def __init__(self) -> None:
        self.arrived: list[tuple[str, int, float]] = []
        self.files: list[bytes] = []

    def __call__(self, address: Any, touch: Any) -> "MemoryService":
        self.names = {name for name, *_ in self.arrived}
        return self

    def points(self, name: str) -> list[int]:
        return [step for other, step, _ in self.arrived if other == name]

    def log(self, points: Any) -> list[str]:
        assert all(math.isfinite(point.value) and isinstance(int(point.time * 1000), int) for point in points)
        self.arrived += [(point.name, point.step, point.value) for point in points]
        return []

    def table(self, name: str, columns: Any, rows: Any) -> list[str]:
        assert all(dict(zip(columns, row, strict=True)) is not None for row in rows)
        return []

    def image(self, name: str, artifact: str, folder: Path) -> None:
        self.upload(artifact, folder / artifact)

    def upload(self, artifact: str, file: Path) -> None:
        assert ".." not in Path(artifact).parts and not Path(artifact).is_absolute()
        self.files.append(file.read_bytes())

    def confusion_matrix(self, name: str, value: Any) -> None:
        assert isinstance(value, dict)

    def tags(self, tags: Any) -> None:
        assert all(isinstance(value, str) for value in tags.values())

    def end(self, status: str, reason: str | None) -> None:
        assert status in ("Completed", "Failed", "Canceled")

    def send(self, record: Path) -> list[bytes]:
        """Send a record to the end, as a relay does whose training process is gone; return the contents of `files`."""
        flags = Flags(closing=True, entries=attempt.MAX_ENTRIES)
        news = Pipe(duplex=False)[0]  # none comes
        Attempt(record, read_header(record), self, flags, news, os.getppid())._send_all()  # type: ignore[arg-type]
        return self.files


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MemoryService:
    """An empty service, that is asked without pauses."""
    monkeypatch.setattr(attempt, "IN_FLIGHT_SECONDS", 0.0)
    return MemoryService()
