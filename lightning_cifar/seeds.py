"""Train with several seeds, `fit --seeds 0,1,2`, and end with a table and a figure of all runs."""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lightning_cifar import figures
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write


def split_seeds(args: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the seeds of `--seeds 0,1,2` or `--seeds=0,1,2`, none where it is absent, and the other arguments.

    Raises:
        UserError: they are no whole numbers of 0 or more, or the same one comes twice.
    """
    words, others, text = iter(args), list[str](), None
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--seeds":
            text = value if equals else next(words, "")
        else:
            others.append(word)
    if text is None:
        return [], others
    if not re.fullmatch(r"\d+(,\d+)+", text) or len(set(text.split(","))) < len(text.split(",")):
        raise UserError(f"--seeds is {text!r}: give two or more different whole numbers, for instance 0,1,2")
    return [int(seed) for seed in text.split(",")], others


def report_runs(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Print accuracy and duration of each run with means and standard deviations, and draw all curves into one PNG.

    Args:
        runs: what `summarize` returns of each, with `folder` and `loss_history`.
        path: of the PNG.
    """
    table = Table("seed", "test accuracy", "minutes", "results")
    for run in runs:
        table.add_row(str(run["seed"]), f"{run['test_acc']:.2%}", f"{run['seconds'] / 60:.1f}", str(run["folder"]))
    accuracies, minutes = [run["test_acc"] for run in runs], [run["seconds"] / 60 for run in runs]
    mean, spread = statistics.fmean(accuracies), statistics.stdev(accuracies)
    table.add_section()
    table.add_row(f"mean of {len(runs)}", f"{mean:.2%} ± {spread:.2%}", f"{statistics.fmean(minutes):.1f}", str(path))
    Console().print(table)
    curves = {f"seed {run['seed']}": run["loss_history"] for run in runs}
    with atomic_write(path) as file:
        figures.loss_curves(curves, f"{runs[0]['network']}, {len(runs)} seeds").savefig(file, format="png", dpi=100)
