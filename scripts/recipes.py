"""List the recipes with their measured rows, or make these rows anew from the runs' own result files.

    python -m scripts.recipes
    python -m scripts.recipes --results results/cifar10

The rows lie in lightning_cifar/recipes/README.md; of each recipe, all runs below RESULTS make one.
"""

import argparse
import json
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write
from lightning_cifar.recipes import RECIPES
from scripts import console

README = RECIPES["default"].with_name("README.md")
HEADER = (
    "| recipe | network, parameters | epochs | test accuracy | wall time | images/s | peak memory | machine |",
    "|---|---|--:|--:|--:|--:|--:|---|",
)


def main(arguments: Sequence[str]) -> int:
    """Print the table; with `--results`, write it first."""
    parser = console.Parser("recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="make the rows of the runs below this folder")
    args = parser.parse_args(arguments)
    before, table, after = split_readme(README.read_text(encoding="utf-8"))
    if args.results is not None:
        table = "\n".join([*HEADER, *rows(read_runs(args.results))])
        with atomic_write(README) as file:
            file.write(f"{before}{table}\n{after}".encode())
    print(table.strip())
    return 0


def read_runs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the summaries of all tested runs below a folder, by recipe.

    Raises:
        UserError: there is none.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in RECIPES}
    for path in sorted(folder.rglob("summary.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["recipe"] in runs and run["test_acc"] is not None:
            runs[run["recipe"]].append(run)
    if not any(runs.values()):
        raise UserError(f"no run of a recipe below {folder}: train one, as in make train-local RECIPE=quick")
    return runs


def rows(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return a row of the table for each recipe, and the commands that the figures come from."""
    lines, commands = [], []
    for recipe, of_recipe in runs.items():
        if recipe == "debug" or not of_recipe:
            lines.append(f"| `{recipe}` | | | {'of one batch only' if recipe == 'debug' else 'not measured'} | | | | |")
            continue
        accuracies = [run["test_acc"] for run in of_recipe]
        spread = f" ± {statistics.stdev(accuracies):.1%}" if len(accuracies) > 1 else ""
        minutes, speed = (statistics.fmean([run[key] for run in of_recipe]) for key in ("seconds", "images_per_second"))
        memory = max(run["peak_memory_mb"] or 0 for run in of_recipe)
        run = of_recipe[-1]
        lines.append(
            f"| `{recipe}` | {run['network']}, {run['parameters']:,} | {run['epochs']} "
            f"| {statistics.fmean(accuracies):.1%}{spread} (n = {len(accuracies)}) | {minutes / 60:.1f} min "
            f"| {speed:,.0f} | {memory:,} MB "
            f"| {run['machine'] if run['device'] == 'cpu' else run['device']}, {run['threads']} threads, "
            f"torch {run['versions']['torch']} |"
        )
        commands.append(f"    {shlex.join(run['command'])}")
    return [*lines, "", "The commands, of the last run of each:", "", *commands]


def split_readme(text: str) -> tuple[str, str, str]:
    """Return what is before the table, the table, and what is after it."""
    begin, end = "<!-- table: make recipes-table -->\n", "<!-- end of the table -->"
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    return before + begin, table, end + after


if __name__ == "__main__":
    console.run(main)
