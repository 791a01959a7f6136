"""Show the metrics of runs as a table, and plot them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from lightning_cifar.files import atomic_write
from scripts.azure.submitter import Curves

_FIRST = ("loss", "val_loss", "val_acc", "test_acc", "test_loss")
_NO_RESULT = ("epoch", "lr")


def table(curves: Curves) -> Table:
    """Return a row for each metric: how many values, from which step to which, first, last and extremes."""
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


def draw(runs: Mapping[str, Curves], names: Sequence[str], file: Path) -> None:
    """Draw the metrics `names` side by side into a PNG, with a line for each of the runs, which have labels."""
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
    with atomic_write(file) as png:
        figure.savefig(png, dpi=120, format="png")


def worth_drawing(curves: Sequence[Curves]) -> list[str]:
    """Choose up to three metrics: losses and accuracies before others, curves before single values."""
    found = {name for each in curves for name in each}
    longest = {name: max(len(each.get(name, ())) for each in curves) for name in found}
    names = [name for name in longest if name not in _NO_RESULT and "/" not in name] or list(longest)
    several = [name for name in names if longest[name] > 1] or names
    return sorted(several, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))[:3]
