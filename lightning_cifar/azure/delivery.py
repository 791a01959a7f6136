"""What one process has logged to one run: two spools, the run's end, and the wait for both."""

import atexit
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_cifar.azure.deadline import DEADLINE
from lightning_cifar.azure.limits import MAX_NAMES
from lightning_cifar.azure.outbox import pending
from lightning_cifar.azure.process import RelayedOutbox
from lightning_cifar.azure.run import RunAddress, require_azureml
from lightning_cifar.azure.run_status import outcome, reason

# So long a healthy service may take before a person is told that somebody waits.
_PATIENT_SECONDS = 3.0
Kind = Literal["metrics", "media"]


class Delivery:
    """Records entries and sees them through; belongs to the process that made it.

    There is one spool for what goes inline, metrics and tables, and one for uploads, which must not hold up
    the curve. Making a journal costs nothing; the first entry makes the file and starts the process.

    Args:
        address: the run.
        folder: where `azureml-metrics/` is made.
        timeout: seconds that the forwarders have after this process.
        variables: environment variables that only the forwarders get.

    Raises:
        UserError: azureml-core is not installed.
    """

    def __init__(self, address: RunAddress, folder: Path, timeout: float, variables: dict[str, str]) -> None:
        require_azureml()
        self.pid = os.getpid()
        self.others_logged = False  # processes that were made from this one, to the run that it ends
        self._address = address
        self._timeout = timeout
        stem = f"{address.run_id}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        root = folder / "azureml-metrics"
        kinds: tuple[Kind, ...] = ("metrics", "media")
        self._spools = {
            kind: RelayedOutbox(root / f"{stem}-{kind}.jsonl", address, timeout, variables) for kind in kinds
        }
        self._told: set[str] = set()  # what has been warned of
        self._ended = False
        DEADLINE.add(self._spools.values())
        atexit.register(self.at_exit)

    @property
    def files(self) -> Path:
        """Folder for the images and files that entries refer to."""
        return self._spools["media"].files

    def write(self, lines: str) -> None:
        """Record whole lines of metrics. A full disk is warned of once; the training goes on."""
        try:
            self._spools["metrics"].append(lines)
        except OSError as error:
            self._tell("disk", f"AzureMLLogger cannot record metrics; the training goes on without them: {error}")

    def add(self, kind: Kind, entry: dict[str, Any]) -> None:
        """Record one entry."""
        try:
            self._spools[kind].append_entry(entry)
        except OSError as error:
            rank_zero_warn(f"AzureMLLogger cannot record {next(iter(entry))!r}: {error}")

    def add_file(self, entry: dict[str, Any], path: str, save: Callable[[Path], None]) -> None:
        """Record an entry that refers to a file, which `save` writes to the path that it is given."""
        try:
            save(self.files / path)
        except OSError as error:
            rank_zero_warn(f"AzureMLLogger cannot record {path!r}: {error}")
        else:
            self.add("media", entry | {"path": path})

    def end(self, status: str, why: str | None = None) -> None:
        """Give an interactive run its status, once, after everything before; leave any other run's alone."""
        if self._address.ended_here and not self._ended:
            self._ended = True
            self.add("metrics", {"end": status, "reason": why})

    def drain(self, seconds: float) -> None:
        """Wait until everything has arrived, at most `seconds` (see `Deadline`), and say what has not."""
        until = DEADLINE.until(seconds)
        spools = [spool for spool in self._spools.values() if spool.used]
        soon = min(until, time.monotonic() + _PATIENT_SECONDS)
        if not all(spool.wait(soon) for spool in spools) and soon < until:
            left = until - soon
            rank_zero_info(f"Waiting for Azure ML to take what was logged last, at most {left:.0f} s more ...")
            for spool in spools:
                spool.wait(until)
        DEADLINE.waited()
        self._warn(spools)

    def finish(self, error: BaseException | None = None) -> None:
        """End an interactive run, unless it has ended otherwise, and wait for everything.

        Args:
            error: what ends the process; None: nothing, so the run is Completed.
        """
        # A forked child inherits the exit handler, but not the journal.
        if self.pid == os.getpid() and (self.others_logged or any(spool.used for spool in self._spools.values())):
            if self._address.ended_here and not self._ended:
                self.drain(self._timeout)  # uploads have a forwarder of their own: they come before the end
                self.end("Completed" if error is None else outcome("failed", error), reason(error))
            self.drain(self._timeout)

    def close(self) -> None:
        """Finish, and let the forwarders end: nothing more can be recorded here."""
        self.finish()
        atexit.unregister(self.at_exit)
        if self.pid == os.getpid():
            DEADLINE.remove(self._spools.values())
            for spool in self._spools.values():
                spool.close()

    def at_exit(self) -> None:
        """Finish, at the end of the process."""
        # An uncaught exception has been printed by now, and Python remembers it; a notebook (`ps1`) does so
        # for each cell, and goes on.
        self.finish(None if hasattr(sys, "ps1") else getattr(sys, "last_value", None))

    def _warn(self, spools: list[RelayedOutbox]) -> None:
        states = [spool.progress for spool in spools]
        left = {spool.path: number for spool in spools if (number := pending(spool.path))}
        if left:
            reasons = dict.fromkeys(state.error for state in states if state.error)
            files = " ".join(str(path) for path in left)
            self._tell(
                "left",
                f"AzureMLLogger: {sum(left.values())} entries have not reached Azure ML "
                f"({'; '.join(reasons) or 'no answer'}). They are kept in {files}; "
                f"send them later with: python -m lightning_cifar.azure.replay {files}",
            )
        if refused := sum(state.refused for state in states):
            first = next(message for state in states for message in state.rejected)
            self._tell("refused", f"AzureMLLogger: Azure ML refused {refused} entries, such as: {first}")
        if names := [name for state in states for name in state.left_out]:
            self._tell(
                "names",
                f"AzureMLLogger: Azure ML takes at most {MAX_NAMES} names for the metrics of a run, and other "
                f"processes of this run have taken some; kept on disk but not sent: {', '.join(names)}",
            )
        if files_gone := [path for state in states for path in state.missing]:
            self._tell("missing", f"AzureMLLogger: deleted before they were sent: {', '.join(files_gone)}")

    def _tell(self, what: str, message: str) -> None:
        """Warn, once of each kind of loss."""
        if what not in self._told:
            self._told.add(what)
            rank_zero_warn(message)
