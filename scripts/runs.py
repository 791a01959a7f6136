"""Look after submitted runs: `python -m scripts.runs list|watch|compare|download|cancel|register`.

A command that needs one run takes its id, or the run submitted last from here.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cifar.errors import UserError
from scripts import console
from scripts.azure import last_run, workspace

if TYPE_CHECKING:
    from azureml.core import Run, Workspace

ROOT = Path(__file__).resolve().parent.parent
_FINAL_METRICS = ("val_acc", "test_acc", "loss", "val_loss", "test_loss")
_AT_A_TIME = 8


def main(arguments: Sequence[str]) -> int:
    """Carry out one of the commands."""
    args = read_flags(arguments)
    address = workspace.find(args, ROOT)
    if "run" in args and args.run is None:
        args.run = last_run.load(address.memory).run_id
    azure = workspace.connect(address, args.auth)
    code: int = args.command(azure, args)
    return code


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command and its flags."""
    parser = console.Parser("runs", usage="python -m scripts.runs COMMAND …", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=console.Parser)

    def add(command: Any, text: str, one_run: bool = True) -> argparse.ArgumentParser:
        name = command.__name__.removesuffix("_runs")
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, prog=f"runs {name}")
        added.set_defaults(command=command)
        if one_run:
            added.add_argument("run", nargs="?", help="its id (default: the run submitted last)")
        workspace.add_flags(added)
        return added

    listing = add(list_runs, "the latest runs of the experiment as a table", one_run=False)
    listing.add_argument("--experiment", default="cifar10", help="default: %(default)s")
    listing.add_argument("-n", type=console.positive, default=10, help="how many (default: %(default)s)")
    add(watch, "show the log of a run until it ends; exit 0 Completed, 1 Failed, 130 Canceled")
    comparison = add(compare, "the curves of several runs in one picture", one_run=False)
    comparison.add_argument("runs", nargs="*", metavar="run", help='their ids; by make: RUNS="ID ID"')
    comparison.add_argument("--metric", action="append", metavar="NAME", help="default: losses and accuracies")
    comparison.add_argument("--to", type=Path, default=ROOT / "downloads" / "comparison.png", metavar="FILE.png")
    fetch = add(download, "bring the outputs of a run to this machine")
    fetch.add_argument("--to", type=Path, metavar="FOLDER", help="default: downloads/RUN")
    add(cancel, "end a run that goes on")
    entry = add(register, "register the best checkpoint of a run as a model")
    entry.add_argument("--name", default="lightning-cifar", help="of the model (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.command is compare and not args.runs:
        parser.error('no runs to compare: make compare RUNS="ID ID"')
    return args


def open_run(azure: "Workspace", run_id: str) -> "Run":
    """Find a run.

    Raises:
        UserError: the workspace has none with this id.
    """
    from azureml.core import Run

    from scripts.azure.service_errors import explained, retried

    with explained(f"run {run_id}"):
        return retried(lambda: Run.get(azure, run_id))


def list_runs(azure: "Workspace", args: argparse.Namespace) -> int:
    """Print the latest runs: status, start, duration and final metrics."""
    from azureml.core import Experiment
    from rich.console import Console
    from rich.table import Table

    from scripts.azure.service_errors import explained, retried

    with explained(f"the runs of experiment {args.experiment}"):
        names = {experiment.name for experiment in retried(lambda: Experiment.list(azure))}
        if args.experiment not in names:
            there = ", ".join(sorted(names)) or "none; `make submit` makes the first"
            raise UserError(f"no experiment {args.experiment!r} in workspace {azure.name}; there is: {there}")
        runs = retried(lambda: list(islice(Experiment(azure, args.experiment).get_runs(), args.n)))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            described = list(pool.map(_describe, runs))
    shown = [name for name in _FINAL_METRICS if any(name in metrics for _, metrics in described)]
    table = Table("run", "name", "status", "started", "duration", *shown)
    for row, metrics in described:
        table.add_row(*row, *(f"{metrics[name]:.4g}" if name in metrics else "" for name in shown))
    Console(width=None if Console().is_terminal else 200).print(table)
    return 0


def _describe(run: "Run") -> tuple[list[str], dict[str, float]]:
    details = run.get_details()
    start, end = _time(details.get("startTimeUtc")), _time(details.get("endTimeUtc"))
    duration = str((end or datetime.now(UTC)) - start).split(".")[0] if start else ""
    started = start.astimezone().strftime("%Y-%m-%d %H:%M") if start else ""
    last = {name: values[-1] if isinstance(values, list) else values for name, values in run.get_metrics().items()}
    metrics = {name: value for name, value in last.items() if isinstance(value, int | float)}
    return [run.id, run.display_name or "", details["status"], started, duration], metrics


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def watch(azure: "Workspace", args: argparse.Namespace) -> int:
    """Show a run's log until it ends."""
    from scripts.azure import follow

    return follow.until_done(open_run(azure, args.run))


def compare(azure: "Workspace", args: argparse.Namespace) -> int:
    """Draw the curves of several runs."""
    from scripts.azure import curves

    runs = [open_run(azure, run_id) for run_id in args.runs]
    found = {run.display_name or run.id: curves.read(run, args.metric) for run in runs}
    if len(found) < len(runs):
        found = {run.id: curves.read(run, args.metric) for run in runs}
    names = args.metric or curves.worth_drawing(list(found.values()))
    missing = [name for name in names if not any(name in each for each in found.values())]
    if missing or not names:
        raise UserError(f"none of these runs has a metric {', '.join(missing)}; `make runs` shows what there is")
    console.say(f"the curves of {len(found)} runs are in {curves.draw(found, names, args.to)}")
    return 0


def download(azure: "Workspace", args: argparse.Namespace) -> int:
    """Bring the outputs of a run here."""
    from scripts.azure import follow

    run = open_run(azure, args.run)
    follow.download(run, args.to or ROOT / "downloads" / run.id)
    return 0


def cancel(azure: "Workspace", args: argparse.Namespace) -> int:
    """End a run."""
    from scripts.azure import follow

    follow.cancel(open_run(azure, args.run))
    return 0


def register(azure: "Workspace", args: argparse.Namespace) -> int:
    """Register a run's best checkpoint as a model.

    Raises:
        UserError: the run left no checkpoint.
    """
    from scripts.azure.service_errors import explained, retried

    run = open_run(azure, args.run)
    with explained(f"the checkpoints of run {run.id}"):
        files = retried(run.get_file_names)
    checkpoints = [name for name in files if name.startswith("outputs/") and name.endswith(".ckpt")]
    best = [name for name in checkpoints if not Path(name).stem.startswith("last")]
    if not checkpoints:
        raise UserError(
            f"run {run.id} left no checkpoint under outputs/; look at `make runs` for one that is completed"
        )
    chosen = sorted(best or checkpoints)[-1]
    with explained(f"registering {chosen} of run {run.id}"):
        model = run.register_model(args.name, model_path=chosen)
    console.say(f"model {model.name}, version {model.version}, is {chosen} of run {run.id}")
    return 0


if __name__ == "__main__":
    console.run(main)
