"""List the recipes with their measured rows, or make rows anew from the runs' own result files.

    python -m scripts.recipes
    python -m scripts.recipes --results results/cifar10

The rows lie in lightning_cifar/recipes/README.md. All runs of a recipe below RESULTS on the same machine make one, in
place of the one that was there; rows of other recipes and machines stay.
"""

import argparse
import json
import shlex
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write
from lightning_cifar.recipes import RECIPES
from scripts import console

README = RECIPES["default"].with_name("README.md")
HEADER = (
    "| recipe | network, parameters | epochs | test accuracy | wall time | images/s | memory | machine | command |",
    "|---|---|--:|--:|--:|--:|--:|---|---|",
)


def main(arguments: Sequence[str]) -> int:
    """Print the table; with `--results`, write it first."""
    parser = console.Parser("recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="make the rows of the runs below this folder")
    args = parser.parse_args(arguments)
    before, table, after = split_readme(README.read_text(encoding="utf-8"))
    if args.results is not None:
        rows = {key(line): line for line in table.splitlines()[len(HEADER) :] if key(line)[1]}
        rows |= {where: row(runs) for where, runs in read_runs(args.results).items()}
        for recipe in RECIPES.keys() - {recipe for recipe, _ in rows}:
            reached = "of one batch only" if recipe == "debug" else "not measured"
            rows[recipe, ""] = f"| `{recipe}` | | | {reached} | | | | | |"
        table = "\n".join([*HEADER, *sorted(rows.values())])
        with atomic_write(README) as file:
            file.write(f"{before}{table}\n{after}".encode())
    print(table.strip())
    return 0


def read_runs(folder: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the summaries of all tested runs below a folder, by recipe and machine.

    Raises:
        UserError: there is none.
    """
    runs = defaultdict(list)
    for path in sorted(folder.rglob("summary.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["recipe"] in RECIPES and run["recipe"] != "debug" and run["test_acc"] is not None:
            runs[run["recipe"], machine(run)].append(run)
    if not runs:
        raise UserError(f"no run of a recipe below {folder}: train one, as in make train-local RECIPE=quick")
    return runs


def row(runs: Sequence[dict[str, Any]]) -> str:
    """Return the row of runs of the same recipe on the same machine."""
    accuracies, run = [run["test_acc"] for run in runs], runs[-1]
    spread = f" ± {statistics.stdev(accuracies):.1%}" if len(accuracies) > 1 else ""
    seconds, speed = (statistics.fmean([run[name] for run in runs]) for name in ("seconds", "images_per_second"))
    time = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    return (
        f"| `{run['recipe']}` | {run['network']}, {run['parameters']:,} | {run['epochs']} "
        f"| {statistics.fmean(accuracies):.1%}{spread} (n = {len(accuracies)}) | {time} | {speed:,.0f} "
        f"| {max(run['peak_memory_mb'] or 0 for run in runs):,} MB | {machine(run)}, torch {run['versions']['torch']} "
        f"| `{shlex.join(run['command'][3:])}` |"
    )


def machine(run: dict[str, Any]) -> str:
    """Return what a run was trained on: a processor with the number of threads, or a GPU."""
    return f"{run['machine']}, {run['threads']} threads" if run["device"] == "cpu" else run["device"]


def key(line: str) -> tuple[str, str]:
    """Return recipe and machine of a row of the table; no machine where it was not measured."""
    return line.split("`")[1], line.split("|")[8].partition(", torch")[0].strip()


def split_readme(text: str) -> tuple[str, str, str]:
    """Return what is before the table, the table, and what is after it."""
    begin, end = "<!-- table: make recipes-table -->\n", "<!-- end of the table -->"
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    return before + begin, table, end + after


if __name__ == "__main__":
    console.run(main)
