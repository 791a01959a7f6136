"""A service in this process's memory, and an attempt at it: thousands of records are sent to it in seconds."""

import os
from pathlib import Path
from typing import Any

import pytest

from lightning_cifar.azure import attempt
from lightning_cifar.azure.attempt import Attempt, Flags
from lightning_cifar.azure.outbox import read_header


class MemoryService:
    """What has arrived, in order, as (name, step, value); it is also the class of its backend, for `Attempt`."""

    token = None

    def __init__(self) -> None:
        self.arrived: list[tuple[str, int, float]] = []

    def __call__(self, address: Any, touch: Any) -> "MemoryService":
        self.names = {name for name, *_ in self.arrived}
        return self

    def points(self, name: str) -> list[int]:
        return [step for other, step, _ in self.arrived if other == name]

    def log(self, points: Any) -> list[str]:
        self.arrived += [(point.name, point.step, point.value) for point in points]
        return []

    def send(self, record: Path) -> None:
        """Send a record to the end, as a relay does whose training process is gone."""
        flags = Flags(closing=True, entries=attempt.MAX_ENTRIES)
        Attempt(record, read_header(record), self, flags, os.getppid())._send_all()  # type: ignore[arg-type]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MemoryService:
    """An empty service, that is asked without pauses."""
    monkeypatch.setattr(attempt, "IN_FLIGHT_SECONDS", 0.0)
    return MemoryService()
