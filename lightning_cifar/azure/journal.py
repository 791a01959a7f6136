"""What one process has logged to one run: two spools, the run's end, and the wait for both."""

import atexit
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_cifar.azure.process import ForwardedSpool
from lightning_cifar.azure.run import RunAddress, require_azureml
from lightning_cifar.azure.spool import Progress, pending

# Part of the time limit that is left for everything else that a process does at its end.
_MARGIN = 0.1
# So long a healthy service may take before a person is told that somebody waits.
_PATIENT_SECONDS = 3.0
Kind = Literal["metrics", "media"]


class Journal:
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
        self._address = address
        self._timeout = timeout
        stem = f"{address.run_id}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        root = folder / "azureml-metrics"
        kinds: tuple[Kind, ...] = ("metrics", "media")
        self._spools = {
            kind: ForwardedSpool(root / f"{stem}-{kind}.jsonl", address, timeout, variables) for kind in kinds
        }
        self._give_up_at: float | None = None
        self._warned = False
        self._ended = False
        atexit.register(self.close)

    @property
    def files(self) -> Path:
        """Folder for the images and files that entries refer to."""
        return self._spools["media"].files

    def write(self, lines: str) -> None:
        """Record whole lines of metrics. A full disk is warned of once; the training goes on."""
        try:
            self._spools["metrics"].append(lines)
        except OSError as error:
            if not self._warned:
                self._warned = True
                rank_zero_warn(f"AzureMLLogger cannot record metrics; the training goes on without them: {error}")

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

    def end(self, status: str, reason: str | None = None) -> None:
        """Give an interactive run its status, once, after everything before; leave any other run's alone."""
        if self._address.interactive and not self._ended:
            self._ended = True
            self.add("metrics", {"end": status, "reason": reason})

    def drain(self, seconds: float) -> None:
        """Wait until everything has arrived, and say what has not.

        Waits in a row that end in vain share one time limit: a `test` after a `fit` does not wait it out
        again.
        """
        began = time.monotonic()
        limit = began + seconds * (1 - _MARGIN)
        self._give_up_at = limit if self._give_up_at is None else min(self._give_up_at, limit)
        spools = [spool for spool in self._spools.values() if spool.used]
        soon = min(self._give_up_at, began + _PATIENT_SECONDS)
        if all(spool.wait(soon) for spool in spools):
            self._give_up_at = None
        elif soon < self._give_up_at:
            left = self._give_up_at - soon
            rank_zero_info(f"Waiting for Azure ML to take what was logged last, at most {left:.0f} s more ...")
            if all(spool.wait(self._give_up_at) for spool in spools):
                self._give_up_at = None
        for spool in spools:
            self._warn(spool.path)

    def close(self) -> None:
        """End an interactive run as Completed, unless it has ended otherwise, and wait for everything."""
        # A forked child inherits this exit handler, but not the journal.
        if self.pid == os.getpid() and any(spool.used for spool in self._spools.values()):
            if self._address.interactive and not self._ended:
                self.drain(self._timeout)  # uploads have a forwarder of their own: they come before the end
                self.end("Completed")
            self.drain(self._timeout)

    def _warn(self, path: Path) -> None:
        if self._warned:
            return
        progress, left = Progress.read(path), pending(path)
        if left:
            self._warned = True
            rank_zero_warn(
                f"AzureMLLogger: {left} entries have not reached Azure ML "
                f"({progress.error or 'no answer'}). They are kept in {path}; "
                f"send them later with: python -m lightning_cifar.azure.replay {path}"
            )
        elif progress.rejected:
            self._warned = True
            number = len(progress.rejected)
            rank_zero_warn(f"AzureMLLogger: Azure ML refused {number} entries, first: {progress.rejected[0]}")
