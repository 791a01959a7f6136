"""Run an Azure ML job on this machine first: `python -m scripts.rehearse [FLAGS] -- [FLAGS OF fit]`.

    python -m scripts.rehearse --nodes 2 -- --trainer.max_epochs 1 --trainer.limit_train_batches 500
    make rehearse NODES=2 EPOCHS=1 ARGS="--trainer.limit_train_batches 500"

The submission is the one of `scripts.submit`, flags and all, sent with the unmodified SDK; an emulator for
Azure ML on this machine takes it, runs the snapshot as described, and keeps the metrics that arrive. No
account is needed.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cifar.errors import DEBUG, UserError
from scripts import console
from scripts.azure import curves
from scripts.azure.environment import read_named
from scripts.azure.submitter import Curves, Point
from scripts.submit import ROOT, split

if TYPE_CHECKING:
    from scripts.emulator import Emulator
    from scripts.emulator.records import RunRecord

_MOUNTED = "rehearsal"
_VM_SIZE, _MAX_NODES = "Standard_NC4as_T4_v3", 100


def main(arguments: Sequence[str]) -> int:
    """Rehearse a job; return its exit code, or 1 if its metrics did not arrive as they should."""
    own, flags = split(arguments)
    args, for_submit = read_flags(own)
    print("rehearsal: starting the emulator for Azure ML …", flush=True)

    from scripts.emulator import Emulator

    with Emulator(run_jobs=True, fresh_environments=args.fresh_environment) as azure:
        named = provide(args.data, azure)
        if args.compute:
            azure.add_compute(args.compute, _VM_SIZE, _MAX_NODES)
            named += ["--compute", args.compute]
        if args.environment:
            name, version = read_named(args.environment)
            azure.add_environment(name, version or "1")
            named += ["--environment", args.environment]
        config = azure.write_config(azure.folder)
        print("rehearsal: nothing leaves this machine, and links to studio lead nowhere; starting scripts.submit …")
        if args.preempt:
            from scripts.disturbance import CHECKPOINT_EVERY, Disturbance  # brings PyTorch

            flags = ["--checkpoint_every", CHECKPOINT_EVERY, *flags]
        submission = ["--config", str(config), "--wait", *named, *for_submit, "--", *flags]
        code = submit(azure, submission)
        if not azure.runs():
            return code or 1
        complaints = report(azure, azure.runs()[-1], args.to)
        if args.preempt and not (code or complaints):
            print("rehearsal: the same once more, and now the job's nodes are taken away …", flush=True)
            disturbance = Disturbance(azure, args.preempt, args.preempt_seed)
            disturbance.start()
            code = submit(azure, submission)
            complaints = report(azure, azure.runs()[-1], args.to) + disturbance.compare()
        if code == console.INTERRUPTED:
            return code
    if code or complaints:
        raise UserError(f"rehearsal: {'; '.join(complaints) if complaints else 'the job failed, as said above'}")
    return 0


def read_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse this script's own flags; return them and those meant for `scripts.submit`."""
    parser = console.Parser(
        "rehearse",
        usage="python -m scripts.rehearse [FLAGS] [FLAGS OF scripts.submit] -- [FLAGS OF fit]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", default="synthetic", help="source (default: %(default)s), or a folder, as if mounted")
    parser.add_argument("--compute", metavar="NAME", help="a cluster that the workspace is to have")
    parser.add_argument("--environment", metavar="NAME[:VERSION]", help="likewise; the job runs in this Python anyway")
    parser.add_argument("--fresh-environment", action="store_true", help="build its Python and packages anew (6 GB)")
    parser.add_argument(
        "--preempt", type=console.positive, metavar="N", help="then take its nodes away N times, and compare (PREEMPT=)"
    )
    parser.add_argument("--preempt-seed", type=int, default=0, metavar="N", help="chooses where (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=ROOT / "downloads" / "rehearsal.png", metavar="FILE.png")
    return parser.parse_known_args(arguments)


def provide(data: str, azure: "Emulator") -> list[str]:
    """Provide the job's data, which must be on this machine; return the flags for `scripts.submit`."""
    if data.startswith("azureml:"):
        raise UserError(f"DATA={data}: a rehearsal has no data assets; give the folder it was made of, DATA=FOLDER")
    if data == "cifar10":
        raise UserError("a rehearsal downloads nothing; give a folder that holds the archive, for instance DATA=data")
    from lightning_cifar.data import SOURCES  # brings PyTorch
    from scripts.upload_data import choose

    if data in SOURCES:
        return ["--data", data]
    folder = Path(data)
    choose(folder)
    azure.mount(_MOUNTED, folder.parent if folder.is_file() else folder)
    return ["--data", f"workspaceblobstore:{_MOUNTED}", "--data-mode", "mount"]


def submit(azure: "Emulator", arguments: Sequence[str]) -> int:
    """Submit as a user would, in a process that knows nothing but the emulator; return its exit code."""
    command = [sys.executable, "-m", "scripts.submit", *arguments]
    environment = azure.client_environment() | {DEBUG: os.environ.get(DEBUG, "")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is a question that scripts.submit asks
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def report(azure: "Emulator", run: "RunRecord", file: Path) -> list[str]:
    """Print the metrics that arrived and draw them; return what is wrong with them."""
    from scripts.emulator import isolation

    arrived = [metric for metric in azure.metrics(run.id) if isinstance(metric.value, int | float)]
    found: Curves = {name: [] for name in sorted({metric.name for metric in arrived})}
    for metric in sorted(arrived, key=lambda metric: metric.step or 0):
        found[metric.name].append(Point(metric.step, float(metric.value)))
    print(f"the job's folders were hidden from each other by {isolation.method()}")
    complaints = [f"the emulator did not expect {request}" for request in azure.unexpected]
    if not found:
        if run.status == "Completed":
            complaints.append("no metric arrived; is AzureMLLogger among the loggers?")
        return complaints
    console.show(curves.table(found))
    curves.draw({run.id: found}, curves.worth_drawing([found]), file)
    print(f"the curves are in {file}")
    twice = [key for key, count in Counter((metric.name, metric.step) for metric in arrived).items() if count > 1]
    return [*complaints, *(f"{name} of step {step} arrived more than once" for name, step in twice[:5])]


if __name__ == "__main__":
    console.run(main)
