"""Manage submitted runs: `python -m scripts.runs list|watch|compare|download|cancel|register`.

A command that needs one run takes its id, or the run submitted last from here.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from rich.table import Table

from lightning_cifar.errors import UserError
from lightning_cifar.files import is_hidden, newest
from scripts import console
from scripts.azure import curves, follow, submitter, workspace
from scripts.azure.submitter import RunHandle, Submitter

ROOT = Path(__file__).resolve().parent.parent
_FINAL_METRICS = ("val_acc", "test_acc", "loss", "val_loss", "test_loss")
_AT_A_TIME = 8

Command = Callable[[Submitter, argparse.Namespace], int]


def main(arguments: Sequence[str]) -> int:
    """Carry out one of the commands; return its exit code."""
    args = read_flags(arguments)
    address = workspace.find(args, ROOT)
    if "run" in args and args.run is None:
        args.run = address.last_run()
    command: Command = args.command
    return command(submitter.connect(address, args.auth, args.sdk or address.last_sdk()), args)


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command and its flags."""
    parser = console.Parser("runs", usage="python -m scripts.runs COMMAND …", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=console.Parser)

    def add(command: Command, text: str, one_run: bool = True) -> argparse.ArgumentParser:
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
    entry = add(register, "register the MLflow model of a run, else its best checkpoint")
    entry.add_argument("--name", default="lightning-cifar", help="of the model (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.command is compare and not args.runs:
        parser.error('no runs to compare: make compare RUNS="ID ID"')
    return args


def list_runs(azure: Submitter, args: argparse.Namespace) -> int:
    """Print the latest runs: status, start, duration and final metrics."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        described = list(pool.map(_describe, azure.runs(args.experiment, args.n)))
    shown = [name for name in _FINAL_METRICS if any(name in metrics for _, metrics in described)]
    table = Table("run", "name", "status", "started", "duration", *shown)
    for row, metrics in described:
        table.add_row(*row, *(f"{metrics[name]:.4g}" if name in metrics else "" for name in shown))
    console.show(table)
    return 0


def _describe(run: RunHandle) -> tuple[list[str], dict[str, float]]:
    details = run.details()
    started = details.started.astimezone().strftime("%Y-%m-%d %H:%M") if details.started else ""
    duration = str((details.ended or datetime.now(UTC)) - details.started).split(".")[0] if details.started else ""
    metrics = {name: points[-1].value for name, points in run.metrics(_FINAL_METRICS).items()}
    return [run.id, run.display_name, details.status, started, duration], metrics


def watch(azure: Submitter, args: argparse.Namespace) -> int:
    """Print a run's log until it ends."""
    return follow.until_done(azure.open(args.run))


def compare(azure: Submitter, args: argparse.Namespace) -> int:
    """Draw the curves of several runs."""
    runs = [azure.open(run_id) for run_id in args.runs]
    metrics = [run.metrics(args.metric) for run in runs]
    names = args.metric or curves.worth_drawing(metrics)
    missing = [name for name in names if not any(name in each for each in metrics)]
    if missing or not names:
        raise UserError(f"none of these runs has a metric {', '.join(missing)}; `make runs` shows what there is")
    labels = [run.display_name or run.id for run in runs]
    if len(set(labels)) < len(runs):
        labels = [run.id for run in runs]
    curves.draw(dict(zip(labels, metrics, strict=True)), names, args.to)
    print(f"the curves are in {args.to}")
    return 0


def download(azure: Submitter, args: argparse.Namespace) -> int:
    """Copy the outputs of a run to this machine."""
    follow.download(azure.open(args.run), args.to or ROOT / "downloads" / args.run)
    return 0


def cancel(azure: Submitter, args: argparse.Namespace) -> int:
    """End a run."""
    follow.cancel(azure.open(args.run))
    return 0


def register(azure: Submitter, args: argparse.Namespace) -> int:
    """Register the MLflow model that a run has left, else its best checkpoint, the newest of several, as a model."""
    run = azure.open(args.run)
    # Hidden is what was still being written when the platform uploaded it.
    files = [path for path in map(PurePosixPath, run.files()) if not is_hidden(path.name)]
    paths = [path for path in files if path.is_relative_to("outputs") and path.suffix == ".ckpt"]
    chosen = newest(path.parent for path in files if path.name == "MLmodel")
    chosen = chosen or newest([path for path in paths if not path.stem.startswith("last")] or paths)
    if chosen is None:
        raise UserError(f"run {run.id} left no checkpoint under outputs/; `make runs` shows which are completed")
    version = run.register_model(args.name, str(chosen))
    print(f"model {args.name}, version {version}, is {chosen} of run {run.id}")
    return 0


if __name__ == "__main__":
    console.run(main)
