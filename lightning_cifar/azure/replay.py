"""Sends what did not get through: `python -m lightning_cifar.azure.replay FILE…`.

FILE is a record that AzureMLLogger's warning named; it lies among a job's outputs as well. It says which run of which
workspace it belongs to, and the SDK signs in as it always does. What the service has is read back first, so each
(name, step) is there once, however often this is called and wherever it was interrupted.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from lightning_cifar.azure import backends, outbox
from lightning_cifar.azure.outbox import MISSING, Progress, pending
from lightning_cifar.azure.process import start_relay
from lightning_cifar.errors import UserError


def replay(file: Path, seconds: float) -> str:
    """Send what `file` holds and the service lacks; return what was done, as a sentence.

    Args:
        file: a record of AzureMLLogger's.
        seconds: give up after so long.

    Raises:
        UserError: the file is foreign or damaged; the service did not take it in time; or pictures and other files
            that it refers to are missing.
    """
    file = file.absolute()
    header = outbox.read_header(file)
    run_id = header.address.run_id
    whole = max((end for _, end in outbox.read_entries(file, header.start)), default=header.start)
    progress = Progress.read(file)
    if progress.offset > whole:
        raise UserError(
            f"{file} is shorter than what was sent from it: fetch it again, or delete {outbox.sent_file(file)} to "
            "compare all of it with the run"
        )
    backends.require(header.backend)
    if progress.dropped.get(MISSING):  # the files may be there by now; what the service has is not sent again
        progress = Progress(ended=progress.ended, in_flight=progress.in_flight)
        progress.write(file)
    before = pending(file)
    _send(file, whole, time.monotonic() + seconds)
    progress = Progress.read(file)
    if left := pending(file):
        reason = progress.error or f"no answer within {seconds:.0f} s"
        raise UserError(f"{left} entries of {file} are not yet at run {run_id} ({reason}): run this again")
    if missing := progress.dropped.get(MISSING):
        raise UserError(
            f"{missing} files of {file} are neither in {outbox.files_folder(file)} nor at run {run_id}, such as "
            f"{progress.examples[MISSING]!r}: put that folder beside it and run this again"
        )
    but = "".join(
        f"; {progress.dropped[why]} entries were not sent ({why}), such as {progress.examples[why]}"
        for why in (outbox.REFUSED, outbox.NO_ROOM)
        if why in progress.dropped
    )
    cut = " (its last line was cut off while it was written)" if file.stat().st_size > whole else ""
    return f"run {run_id} has everything of {file}{cut}; {before} entries were missing or unconfirmed{but}"


def _send(file: Path, whole: int, until: float) -> None:
    # The relay and its attempt end with this process, Ctrl-C included.
    process = start_relay(file, seconds=0.0, variables={})
    try:
        while Progress.read(file).offset < whole and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


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
