"""Submit a training as an Azure ML job: `python -m scripts.submit [FLAGS] -- [FLAGS OF fit]`.

    python -m scripts.submit --compute gpu-cluster --wait -- --trainer.max_epochs 5 --trainer.accelerator gpu
    make submit EPOCHS=5 ACCELERATOR=gpu COMPUTE=gpu-cluster SUBMIT_ARGS=--wait

What follows `--` goes unchanged into the job, to `python -m lightning_cifar fit`, after the same parser has
read it here. `--dry-run` shows everything that would be sent and talks to nobody.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightning_cifar.durations import Duration
from lightning_cifar.errors import UserError
from scripts import console
from scripts.azure import follow, job, preflight, retries, snapshot, submitter, workspace
from scripts.azure.environment import PYTHON_VERSION, EnvironmentSpec, read_named, read_requirements

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Submit a job; return the exit code: 0, or with --wait 1 for Failed and 130 for Canceled."""
    own, flags = split(arguments)
    args = read_flags(own)
    if not args.dry_run:
        print("reading the training's flags with its own parser …", flush=True)
    wanted = read_job(args, flags)
    sdk = args.sdk
    preflight.check_flags(wanted, sdk)
    files = snapshot.take(ROOT)
    files.check()
    preflight.check_paths(flags, files)
    address = None if args.dry_run else workspace.find(args, ROOT)
    from lightning_cifar.cli import check_flags  # brings PyTorch

    check_flags(wanted.arguments("data"))
    if address is None:
        return dry_run(wanted, files, sdk)
    print(f"workspace {address.workspace}; snapshot: {files}")
    azure = submitter.connect(address, args.auth, sdk)
    print(f"asking for compute {wanted.compute} and data {wanted.data} …", flush=True)
    wanted = azure.check(wanted)
    print("sending the snapshot and starting the job …", flush=True)

    def submit(wanted: job.Job, files: snapshot.Snapshot) -> submitter.RunHandle:
        run = azure.submit(wanted, files)
        address.remember(run.id, wanted.experiment, run.studio_url, sdk)
        print(f"run {run.id}\nwatch it in Azure ML studio: {run.studio_url}", flush=True)
        return run

    if not (args.wait or args.download or args.retries):
        submit(wanted, files)
        print("its log here: make watch")
        return 0
    run, code = retries.until_done(submit, wanted, files, args.retries)
    if args.download and code == 0:
        follow.download(run, ROOT / "downloads" / run.id)
    return code


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the command line at its first `--`."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse this script's own flags."""
    parser = console.Parser("submit", usage="python -m scripts.submit [FLAGS] -- [FLAGS OF fit]", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and stop")
    parser.add_argument(
        "--compute", default="cpu-cluster", metavar="NAME", help="default: %(default)s; with SDK v2 also serverless"
    )
    parser.add_argument("--vm-size", metavar="SIZE", help="of serverless machines, for instance Standard_NC4as_T4_v3")
    parser.add_argument("--experiment", default="cifar10", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--display-name", metavar="TEXT", help="what Studio calls the run (default: it invents a name)")
    parser.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    parser.add_argument("--max-duration", type=Duration, metavar="3.5h", help="the platform cancels it then")
    parser.add_argument("--priority", type=int, metavar="N", help="where the cluster supports it")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="cifar10",
        help="a source, cifar10 by default (the job downloads it); DATASTORE:PATH (images or the archive); or with "
        "SDK v2 a data asset, azureml:NAME:VERSION or azureml:NAME@latest",
    )
    data.add_argument("--data-mode", choices=("download", "mount"), default="download", help="default: %(default)s")
    scale = parser.add_argument_group("scale")
    scale.add_argument("--nodes", type=console.positive, metavar="N", help="machines (NODES=)")
    scale.add_argument("--devices", type=console.positive, metavar="N", help="processes on each of them (DEVICES=)")
    software = parser.add_argument_group("software of the job (default: built from requirements.txt, v2: and -v2.txt)")
    choice = software.add_mutually_exclusive_group()
    choice.add_argument("--requirements", type=Path, metavar="FILE", help="pip's, instead of the project's own")
    choice.add_argument(
        "--environment",
        metavar="NAME[:VERSION]",
        help="of the workspace, registered or curated; with "
        "SDK v2 also azureml://registries/REGISTRY/environments/NAME/versions/VERSION",
    )
    choice.add_argument("--conda", type=Path, metavar="FILE", help="a conda environment file")
    pythons = [f"3.{minor}" for minor in range(11, 15)]
    software.add_argument("--python", default=PYTHON_VERSION, choices=pythons, help="default: %(default)s")
    software.add_argument("--image", metavar="ADDRESS", help="base image of what is built (default: by accelerator)")
    after = parser.add_argument_group("afterwards")
    after.add_argument("--wait", action="store_true", help="show the log; exit 0 Completed, 1 Failed, 130 Canceled")
    after.add_argument("--download", action="store_true", help="wait, then bring outputs/ to downloads/RUN")
    after.add_argument(
        "--retries",
        type=console.positive,
        default=0,
        metavar="N",
        help="wait, and submit again, from its checkpoint, what the platform fails, not its own code (RETRIES=)",
    )
    workspace.add_flags(parser)
    parser.set_defaults(sdk=workspace.SDKS[0])
    return parser.parse_args(arguments)


def read_job(args: argparse.Namespace, flags: Sequence[str]) -> job.Job:
    """Return the job that the flags describe; a UserError where they mean nothing in a job."""
    if args.environment and args.image:
        raise UserError("--image and --environment: an environment of the workspace brings its own; give one of them")
    if args.environment:
        environment = EnvironmentSpec(*read_named(args.environment))
    else:
        # What a job of SDK v2 logs by comes on top; to one of v1 it would give a second way, and MLflow would be taken.
        own = [ROOT / "requirements.txt", *([ROOT / "requirements-v2.txt"] if args.sdk == "v2" else [])]
        files = [] if args.conda else [args.requirements] if args.requirements else own
        packages = tuple(line for file in files for line in read_requirements(file))
        environment = EnvironmentSpec(packages=packages, conda=args.conda, image=args.image, python=args.python)
        environment.built_name(gpu=False)  # reads the conda file
    return job.Job(
        flags=tuple(flags),
        environment=environment,
        data=job.read_data(args.data),
        data_mode=args.data_mode,
        nodes=args.nodes,
        devices=args.devices,
        experiment=args.experiment,
        compute=args.compute,
        vm_size=args.vm_size,
        display_name=args.display_name,
        tags=job.read_tags(args.tag),
        max_seconds=args.max_duration and int(args.max_duration),  # YAML knows no other numbers
        priority=args.priority,
    )


def dry_run(wanted: job.Job, files: snapshot.Snapshot, sdk: str) -> int:
    """Print what would be sent: of SDK v2 a `job.yml`, of SDK v1 its run definition."""
    definition = submitter.load(sdk).describe(wanted).rstrip()
    print(f"# {'job.yml' if sdk == 'v2' else 'run definition'}; nothing is sent\n{definition}")
    print(f"# snapshot: {files}")
    print("\n".join(f"#   {size:>9,}  {path}" for path, size in files.files.items()))
    return 0


if __name__ == "__main__":
    console.run(main)
