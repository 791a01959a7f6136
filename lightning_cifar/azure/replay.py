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
from lightning_cifar.azure.foreign import check_header
from lightning_cifar.azure.outbox import Progress, pending
from lightning_cifar.azure.process import NO_FORK, start_relay
from lightning_cifar.errors import UserError


def replay(file: Path, seconds: float = 300.0, backend: str | None = None) -> str:
    """Send what a record holds and the service lacks, for at most `seconds`; return what was done, as a sentence.

    `backend` is the module and class of one's own that the record may name.

    Raises:
        UserError: the file is foreign, or the service did not take it in time.
    """
    if not hasattr(os, "fork"):
        raise UserError(f"{file}: {NO_FORK}; run this there")
    file = file.absolute()
    header = outbox.read_header(file)
    check_header(file, header, backend)
    run_id = header.address.run_id
    whole = outbox.whole_size(file)
    backends.require(header.backend, header.address.tracking_uri)
    before = pending(file)
    _send(file, whole, time.monotonic() + seconds)
    progress = Progress.read(file)
    if left := pending(file):
        reason = progress.error or f"no answer within {seconds:.0f} s"
        raise UserError(f"{left} entries of {file} are not yet at run {run_id} ({reason}): run this again")
    but = "".join(
        f"; {number} entries were not sent ({why}), such as {progress.examples[why]}"
        for why, number in progress.dropped.items()
    )
    cut = " (its last line was cut off while it was written)" if file.stat().st_size > whole else ""
    return f"run {run_id} has everything of {file}{cut}; {before} entries were missing or unconfirmed{but}"


def _send(file: Path, whole: int, until: float) -> None:
    # The relay and its attempt end with this process, Ctrl-C included.
    process = start_relay(file, seconds=0.0)
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
        description="Sends the metrics that did not reach Azure ML, or an MLflow server.",
    )
    parser.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="the .jsonl files that AzureMLLogger's warning named"
    )
    parser.add_argument("--backend", metavar="MODULE:CLASS", help="a backend of your own that the files may name")
    args = parser.parse_args()
    failed = False
    for file in args.files:
        try:
            print(_printable(replay(file, backend=args.backend)))
        except UserError as error:
            failed = True
            print(_printable(str(error)), file=sys.stderr)
    sys.exit(failed)


def _printable(text: str) -> str:
    """Return a text without what would steer the terminal: names in a record may hold anything."""
    return "".join(char if char.isprintable() else "�" for char in text)


if __name__ == "__main__":
    main()
