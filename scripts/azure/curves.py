"""The metrics of a run as they arrived: read back with their steps, as a table, as a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.azure.service_errors import explained, retried

if TYPE_CHECKING:
    from azureml.core import Run
    from rich.table import Table


class Point(NamedTuple):
    """One value of a metric; step None: logged without one."""

    step: int | None
    value: float


Curves = dict[str, list[Point]]

_FIRST = ("loss", "val_loss", "val_acc", "test_acc", "test_loss")
_NO_RESULT = ("epoch", "lr")


def read(run: "Run", names: Sequence[str] | None = None) -> Curves:
    """Fetch the scalar metrics of a run, in order of their steps.

    `Run.get_metrics` gives no steps; this asks as it does, one layer below.

    Args:
        run: a run of the workspace.
        names: which metrics; None: all.
    """
    client = run._client.metrics
    curves = {}
    with explained(f"the metrics of run {run.id}"):
        there = retried(lambda: list(client.list_metric_names_for_run_id(run.id)))
        for name in sorted(there if names is None else set(names) & set(there)):
            points = _points(client.get_metric_dto_for_run_v2(name, run_id=run.id), name)
            if points:
                curves[name] = points
    return curves


def _points(series: Any, name: str) -> list[Point]:
    points = []
    for value in series.value if series is not None else ():
        number = value.data.get(name) if isinstance(value.data, dict) else None
        if isinstance(number, int | float):
            points.append(Point(value.step, float(number)))
    return sorted(points, key=lambda point: (point.step is None, point.step))


def table(curves: Curves) -> "Table":
    """Lay out each metric: how many values, from which step to which, first, last and best."""
    from rich.table import Table

    laid_out = Table("metric", title="metrics that arrived", title_justify="left")
    for column in ("values", "steps", "first", "last", "lowest", "highest"):
        laid_out.add_column(column, justify="right")
    for name, points in curves.items():
        values = [point.value for point in points]
        steps = [point.step for point in points if point.step is not None]
        span = f"{steps[0]} … {steps[-1]}" if len(steps) > 1 else "".join(map(str, steps))
        numbers = (f"{value:.4g}" for value in (values[0], values[-1], min(values), max(values)))
        laid_out.add_row(name, str(len(points)), span, *numbers)
    return laid_out


def draw(runs: Mapping[str, Curves], names: Sequence[str], file: Path) -> Path:
    """Draw each metric in a panel of its own, one line for each run.

    Args:
        runs: what to call a run in the legend, and its metrics.
        names: the metrics, from left to right.
        file: a PNG, overwritten.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 4.5 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for number, (label, curves) in enumerate(runs.items()):
            points = curves.get(name, [])
            steps = [order if point.step is None else point.step for order, point in enumerate(points)]
            marker = "o" if len(points) < 30 else None
            values = [point.value for point in points]
            panel.plot(steps, values, label=label, color=f"C{number}", marker=marker, markersize=3)
        panel.set(title=name, xlabel="step")
        panel.grid(alpha=0.3)
    if len(runs) > 1:
        panels[0].legend(fontsize="small")
    else:
        figure.suptitle(next(iter(runs)))
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part.png")
    figure.savefig(temporary, dpi=120)
    return temporary.replace(file)


def worth_drawing(curves: Sequence[Curves]) -> list[str]:
    """Choose up to three metrics: losses and accuracies before others, curves before single values."""
    longest = Counter[str]()
    for each in curves:
        for name, points in each.items():
            longest[name] = max(longest[name], len(points))
    names = [name for name in longest if name not in _NO_RESULT and "/" not in name] or list(longest)
    several = [name for name in names if longest[name] > 1] or names
    return sorted(several, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))[:3]
