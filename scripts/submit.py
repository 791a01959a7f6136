"""Run a training as an Azure ML job: `python -m scripts.submit [FLAGS] -- [FLAGS OF fit]`.

    python -m scripts.submit --compute gpu-cluster --wait -- --trainer.max_epochs 5 --trainer.accelerator gpu
    make submit EPOCHS=5 ACCELERATOR=gpu COMPUTE=gpu-cluster SUBMIT_ARGS=--wait

What follows `--` goes unchanged into the job, to `python -m lightning_cifar fit`, after the same parser has
read it here. `--dry-run` shows everything that would be sent and talks to nobody.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightning_cifar.errors import UserError
from scripts import console
from scripts.azure import environment, job, last_run, preflight, snapshot, workspace

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Submit a job; return the exit code: 0, or with --wait 1 for Failed and 130 for Canceled."""
    own, flags = split(arguments)
    args = read_flags(own)
    wanted = read_job(args, flags)
    files = snapshot.take(ROOT)
    files.check()
    wanted.environment.check()
    preflight.check(flags, files)
    check_flags(wanted)
    if args.dry_run:
        return dry_run(wanted, files)
    address = workspace.find(args, ROOT)

    from scripts.azure import follow, sdk_v1

    console.say(f"workspace {address.workspace}; snapshot: {describe(files)}")
    azure = workspace.connect(address, args.auth)
    wanted, gpu = sdk_v1.check(azure, wanted)
    run = sdk_v1.submit(azure, wanted, files, gpu)
    last_run.save(last_run.LastRun(run.id, wanted.experiment, run.get_portal_url()), address.memory)
    console.say(f"run {run.id}\nwatch it in Azure ML studio: {run.get_portal_url()}")
    code = follow.until_done(run) if args.wait or args.download else 0
    if args.download and code == 0:
        follow.download(run, ROOT / "downloads" / run.id)
    return code


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the command line at its first `--`."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Read this script's own flags."""
    parser = console.Parser("submit", usage="python -m scripts.submit [FLAGS] -- [FLAGS OF fit]", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and stop")
    parser.add_argument("--compute", default="cpu-cluster", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--experiment", default="cifar10", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--display-name", metavar="TEXT", help="what Studio calls the run (default: it invents a name)")
    parser.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    parser.add_argument("--max-duration", type=job.read_duration, metavar="3.5h", help="the platform cancels it then")
    parser.add_argument("--priority", type=int, metavar="N", help="where the cluster supports it")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="cifar10",
        help="cifar10 (default; the job downloads it), synthetic, or DATASTORE:PATH (images or the archive)",
    )
    data.add_argument("--data-mode", choices=("download", "mount"), default="download", help="default: %(default)s")
    scale = parser.add_argument_group("scale")
    scale.add_argument("--nodes", type=console.positive, metavar="N", help="machines (NODES=)")
    scale.add_argument("--devices", type=console.positive, metavar="N", help="processes on each of them (DEVICES=)")
    software = parser.add_argument_group("software of the job (default: built from requirements.txt)")
    choice = software.add_mutually_exclusive_group()
    choice.add_argument("--requirements", type=Path, default=ROOT / "requirements.txt", metavar="FILE")
    choice.add_argument("--environment", metavar="NAME[:VERSION]", help="of the workspace, registered or curated")
    choice.add_argument("--conda", type=Path, metavar="FILE", help="a conda environment file")
    software.add_argument("--image", metavar="ADDRESS", help="base image of what is built (default: by accelerator)")
    after = parser.add_argument_group("afterwards")
    after.add_argument("--wait", action="store_true", help="show the log; exit 0 Completed, 1 Failed, 130 Canceled")
    after.add_argument("--download", action="store_true", help="wait, then bring outputs/ to downloads/RUN")
    workspace.add_flags(parser)
    return parser.parse_args(arguments)


def read_job(args: argparse.Namespace, flags: Sequence[str]) -> job.Job:
    """Make a job of the flags.

    Raises:
        UserError: flags that contradict each other or mean nothing in a job.
    """
    recipe = environment.Recipe(requirements=args.requirements, image=args.image)
    if args.conda:
        recipe = environment.Recipe(conda=args.conda, image=args.image)
    elif args.environment:
        if args.image:
            raise UserError(
                "--image and --environment: an environment of the workspace brings its own; give one of them"
            )
        name, version = environment.read_named(args.environment)
        recipe = environment.Recipe(name=name, version=version)
    accelerator = job.flag_value(flags, "--trainer.accelerator", "auto") or "auto"
    job.check_accelerator(accelerator)
    job.check_checkpoint(flags)
    job.check_scale(flags, distributed=bool(args.nodes or args.devices))
    return job.Job(
        flags=tuple(flags),
        environment=recipe,
        data=job.read_data(args.data),
        data_mode=args.data_mode,
        nodes=args.nodes,
        devices=args.devices,
        accelerator=accelerator,
        experiment=args.experiment,
        compute=args.compute,
        display_name=args.display_name,
        tags=job.read_tags(args.tag),
        max_seconds=args.max_duration,
        priority=args.priority,
    )


def check_flags(wanted: job.Job) -> None:
    """Read the job's flags with the job's own parser.

    Raises:
        UserError: the job would refuse them.
    """
    from lightning_cifar.cli import check_flags as read_as_the_job_will

    read_as_the_job_will(wanted.arguments("data"))


def dry_run(wanted: job.Job, files: snapshot.Snapshot) -> int:
    """Print what would be sent."""
    import yaml

    from scripts.azure import sdk_v1

    about = {"experiment": wanted.experiment, "display_name": wanted.display_name, "tags": wanted.tags}
    console.say(f"# run definition; nothing is sent\n{yaml.safe_dump(about, sort_keys=False).rstrip()}")
    console.say(sdk_v1.as_yaml(sdk_v1.define(wanted, files.root, gpu=wanted.wants_gpu)).rstrip())
    console.say(f"# snapshot: {describe(files)}")
    console.say("\n".join(f"#   {size:>9,}  {path}" for path, size in files.files.items()))
    return 0


def describe(files: snapshot.Snapshot) -> str:
    """Say how much is sent."""
    withheld = f"; never sent: {', '.join(files.withheld[:10])}" if files.withheld else ""
    return f"{len(files.files)} files, {snapshot.megabytes(files.size)}{withheld}"


if __name__ == "__main__":
    console.run(main)
