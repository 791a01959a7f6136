"""Metrics as lines of the outbox: every value a finite float at an integer step, within the limits of the service."""

import json
import math
import numbers
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_cifar.azure.backends import V1_LIMITS, Limits
from lightning_cifar.azure.lines import seal
from lightning_cifar.azure.outbox import LOCK


@dataclass
class _Series:
    """The values of one name: how its lines begin, whether the run has room for it, its latest point."""

    start: str
    has_room: bool
    step: int | None = None
    value: float | None = None
    warned: bool = False


class Encoder:
    """Encodes what one process logs to a run, and warns once of each name of which Azure ML would not take all.

    Every value becomes a float: the service fixes a column's type by its first value, so an epoch's 0 followed by
    0.5 must not arrive as int and double. One (name, step) is one point: Azure ML cannot replace it, so the first
    value stands. What cannot be sent is recorded all the same, with the reason under `skip`.
    """

    def __init__(self, limits: Limits = V1_LIMITS) -> None:
        self.limits = limits
        self.shift = 0
        """Steps to add: those of the checkpoint, while a trainer only evaluates one."""
        self._series: dict[Any, _Series] = {}
        self._files: dict[str, int] = {}
        self._names = self._step = 0

    def lines(self, metrics: Mapping[str, Any], step: int | None) -> str:
        """Return one line for each scalar among `metrics`.

        Without a step a value goes to the last known one, or to the one after the name's latest.
        """
        if step is not None:
            step = self._step = int(step) + self.shift
        now = f'"time": {time.time():.3f}'
        lines = []
        for key, value in metrics.items():
            series = self._series.get(key) or self._add(key)
            number = value if type(value) is float else as_number(value)
            if number is None:
                self._warn(series, f"{key!r} is no scalar ({type(value).__name__}): left out")
                continue
            at = self._step if step is None else step
            if step is None and series.step is not None:
                at = max(at, series.step + 1)
            if series.step is not None and at <= series.step and (at, number) != (series.step, series.value):
                kept = "Azure ML keeps the first value of each step"
                self._warn(series, f"{key!r} is logged at step {at} after step {series.step}; {kept}")
            series.step, series.value = at, number
            shown, end = repr(number), "}" if series.has_room else ', "skip": "over the limits of a run"}'
            if not math.isfinite(number):
                self._warn(series, f"{key!r} is {number} at step {at}, which Azure ML does not take: kept on disk only")
                shown, end = f'"{number}"', ', "skip": "not finite"}'
            lines.append(seal(f'{series.start}, "value": {shown}, "step": {at}, {now}{end}'))
        return "".join(lines)

    def claim(self, name: str) -> bool:
        """Count a table, image or matrix among the run's names; return False if the service would not take it."""
        with LOCK:
            return (self._series.get(name) or self._add(name)).has_room

    def shifted(self, step: int | None) -> int | None:
        """Return a step as it arrives: with the checkpoint's added."""
        return None if step is None else step + self.shift

    def new_file(self, name: str) -> str:
        """Return `name`, or a numbered one if it was used before: artifacts cannot be replaced."""
        with LOCK:
            number = self._files[name] = self._files.get(name, -1) + 1
        path = PurePosixPath(name)
        return name if number == 0 else str(path.with_name(f"{path.stem}-v{number}{path.suffix}"))

    def _add(self, key: Any) -> _Series:
        name = str(key)
        has_room = len(name) <= self.limits.name_length and self._names < self.limits.names
        self._names += has_room
        series = self._series[key] = _Series('{"metric": ' + json.dumps(name), has_room)
        if not has_room:
            limits = f"{self.limits.names} names of at most {self.limits.name_length} characters"
            self._warn(series, f"{name!r} is kept on disk but not sent: in a run, Azure ML takes {limits}")
        return series

    @staticmethod
    def _warn(series: _Series, message: str) -> None:
        if not series.warned:
            series.warned = True
            rank_zero_warn(f"AzureMLLogger: {message}")


def as_number(value: Any) -> float | None:
    """Return a number, bool, numpy scalar or one-element tensor on any device as a float; None for all else."""
    try:
        value = value.item() if hasattr(value, "item") else value
        return float(value) if isinstance(value, numbers.Real) else None  # np.longdouble is a Real, but no float
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
