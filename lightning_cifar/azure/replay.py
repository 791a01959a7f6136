"""Sends what did not get through: `python -m lightning_cifar.azure.replay FILE…`.

FILE is a record that AzureMLLogger's warning named; it lies among a job's outputs as well. Inside a job it
has to be that job's; anywhere else the file says which run of which workspace it belongs to, and the SDK
signs in as it always does. What the service has is read back first, so each (name, step) is there once,
however often this is called and wherever it was interrupted.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lightning_cifar.azure.outbox import Progress, files_folder, pending, read_entries, read_header, sent_file
from lightning_cifar.azure.process import start_forwarder
from lightning_cifar.azure.run import RunAddress, require_azureml
from lightning_cifar.errors import UserError


def replay(file: Path, seconds: float) -> str:
    """Send what `file` holds and the service lacks; return what was done, as a sentence.

    Args:
        file: a record of AzureMLLogger's.
        seconds: give up after so long.

    Raises:
        UserError: the file is foreign, damaged, or another run's; the service did not take it in time; or
            pictures and other files that it refers to are missing.
    """
    file = file.absolute()
    address, start = read_header(file)
    _check_run(file, address)
    whole = max((end for _, end in read_entries(file, start)), default=start)
    if Progress.read(file).offset > whole:
        raise UserError(
            f"{file} is shorter than what was sent from it: fetch it again, or delete {sent_file(file)} to "
            "compare all of it with the run"
        )
    require_azureml()
    progress = Progress.read(file)
    if progress.missing:  # they may be there by now; what the service has is not sent again
        progress.missing, progress.offset = [], start
        progress.write(file)
    before = pending(file)
    # The forwarder and its worker end with this process, Ctrl-C included.
    process = start_forwarder(file, seconds=0.0, variables={})
    try:
        _wait(file, whole, process, time.monotonic() + seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = pending(file)
    if left:
        reason = Progress.read(file).error or f"no answer within {seconds:.0f} s"
        raise UserError(f"{left} entries of {file} are not yet at run {address.run_id} ({reason}): run this again")
    progress = Progress.read(file)
    if progress.missing:
        raise UserError(
            f"{len(progress.missing)} files of {file} are neither in {files_folder(file)} nor at run "
            f"{address.run_id}, such as {progress.missing[0]!r}: put that folder beside it and run this again"
        )
    but = f"; {progress.refused} entries were refused, such as {progress.rejected[-1]}" if progress.refused else ""
    if progress.left_out:
        but += f"; the run has no room for the names {', '.join(progress.left_out)}"
    cut = " (its last line was cut off while it was written)" if file.stat().st_size > whole else ""
    return f"run {address.run_id} has everything of {file}{cut}; {before} entries were missing or unconfirmed{but}"


def _check_run(file: Path, address: RunAddress) -> None:
    job = RunAddress.of_job()
    if job is not None and job.run_id != address.run_id:
        raise UserError(
            f"{file} belongs to run {address.run_id}, and this job is run {job.run_id}: "
            "replay it in its own job, or outside a job"
        )


def _wait(file: Path, whole: int, process: "subprocess.Popen[bytes]", until: float) -> None:
    while Progress.read(file).offset < whole and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)


def main() -> None:
    """Read the command line and replay; exit 1 with one line for each file of which something is left."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_cifar.azure.replay",
        description="Sends the metrics that did not reach Azure ML.",
    )
    parser.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="the .jsonl files that AzureMLLogger's warning named"
    )
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="give up on a file after so long (default: %(default)s)"
    )
    args = parser.parse_args()
    failed = False
    for file in args.files:
        try:
            print(replay(file, args.seconds))
        except UserError as error:
            failed = True
            print(error, file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
