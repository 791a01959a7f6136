"""What becomes of a logged number: its value, its step, and the limits of the service."""

import json
import math
import numbers
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_cifar.azure.limits import MAX_NAME_LENGTH, MAX_NAMES


@dataclass
class _Series:
    """One name: how its lines begin, why they cannot be sent (None: they can), its latest step and value."""

    start: str
    skip: str | None
    step: int | None = None
    value: float | None = None
    warned: bool = False


class MetricBook:
    """RunLock metrics into the spool's lines, and warns once of each name that the service would not take.

    Every value becomes a float: the service fixes a column's type by its first value, so an epoch's 0
    followed by 0.5 must not arrive as int and double. One (name, step) is one point: Azure ML cannot replace
    a point, so the first value stands. A value without step goes to the last known step, or one after the
    name's latest.
    """

    def __init__(self, prefix: str = "", separator: str = "-") -> None:
        self.shift = 0
        self._prefix = prefix + separator if prefix else ""
        self._series: dict[str, _Series] = {}
        self._files: dict[str, int] = {}
        self._names = 0
        self._step = 0

    def lines(self, metrics: Mapping[str, Any], step: int | None) -> str:
        """Return one line per scalar among `metrics`, at `step` (None: none known)."""
        new = [key for key in metrics if key not in self._series]
        if new:
            self._enter(new)
        if step is not None:
            step = self._step = int(step) + self.shift
        now = f'"time": {time.time():.3f}'
        lines = []
        for key, value in metrics.items():
            series = self._series[key]
            number = value if type(value) is float else as_number(value)
            if number is None:
                self._warn(series, f"AzureMLLogger: {key!r} is no scalar ({type(value).__name__}): left out")
                continue
            at = self._step_for(series) if step is None else step
            if at == series.step and number != series.value and series.value is not None:
                self._warn(
                    series,
                    f"AzureMLLogger: {key!r} was logged again at step {at} with another value; Azure ML "
                    "keeps the first",
                )
            elif at != series.step:
                if series.step is not None and at < series.step:
                    self._warn(
                        series,
                        f"AzureMLLogger: {key!r} starts again at step {at}, after step {series.step}; Azure ML "
                        "keeps the first value of each step",
                    )
                series.step, series.value = at, number
            lines.append(self._line(series, key, number, at, now))
        return "".join(lines)

    def claim(self, name: str) -> bool:
        """Count a table, image or matrix among the run's names; False if the service would not take it."""
        if name not in self._series:
            self._enter([name])
        return self._series[name].skip is None

    def name(self, key: str) -> str:
        """Return the name under which `key` arrives: with the prefix."""
        return self._prefix + key

    def step(self, step: int | None) -> int | None:
        """Return a step as it arrives: a standalone evaluation's is the checkpoint's."""
        return None if step is None else step + self.shift

    def new_file(self, name: str) -> str:
        """Return `name`, or a numbered one where it was given out before: artifacts cannot be replaced."""
        number = self._files[name] = self._files.get(name, -1) + 1
        path = PurePosixPath(name)
        return name if number == 0 else str(path.with_name(f"{path.stem}-v{number}{path.suffix}"))

    def _line(self, series: _Series, key: str, number: float, step: int, now: str) -> str:
        if not math.isfinite(number):
            self._warn(
                series,
                f"AzureMLLogger: {key!r} is {number} at step {step}; Azure ML takes no such number: left out",
            )
            return f'{series.start}, "value": "{number}", "step": {step}, {now}, "skip": "not finite"}}\n'
        end = f', "skip": "{series.skip}"}}\n' if series.skip else "}\n"
        return f'{series.start}, "value": {number!r}, "step": {step}, {now}{end}'

    def _step_for(self, series: _Series) -> int:
        if series.step is None or series.step < self._step:
            return self._step
        return series.step + 1

    def _enter(self, keys: list[str]) -> None:
        refused: dict[str, list[str]] = {}
        for key in keys:
            name = self._prefix + str(key)
            skip = None
            if len(name) > MAX_NAME_LENGTH:
                skip = f"over {MAX_NAME_LENGTH} characters"
            elif self._names >= MAX_NAMES:
                skip = f"over {MAX_NAMES} names"
            else:
                self._names += 1
            if skip:
                refused.setdefault(skip, []).append(name)
            self._series[key] = _Series('{"metric": ' + json.dumps(name), skip)
        for reason, names in refused.items():
            rank_zero_warn(
                f"AzureMLLogger: Azure ML takes at most {reason.removeprefix('over ')} for the metrics of a "
                f"run; kept on disk but not sent: {', '.join(names)}"
            )

    @staticmethod
    def _warn(series: _Series, message: str) -> None:
        if not series.warned:
            series.warned = True
            rank_zero_warn(message)


def as_number(value: Any) -> float | None:
    """Return a number, bool, numpy scalar or one-element tensor as a float; None for all else."""
    if hasattr(value, "item"):
        try:
            value = value.item()
        except (ValueError, RuntimeError):
            return None
    try:
        return float(value) if isinstance(value, numbers.Real) else None  # np.longdouble is no float
    except OverflowError:
        return None
