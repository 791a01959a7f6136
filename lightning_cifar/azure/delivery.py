"""What one process logs to one run: two outboxes, the run's end, and the wait for both."""

import atexit
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_cifar.azure import backends
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import LOCK, SAID_AT_END, Progress, files_folder, pending
from lightning_cifar.azure.process import RelayedOutbox
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.run_status import outcome, reason

# So long a healthy service may take before a person is told that the process waits.
_QUIET_SECONDS = 3.0
# Part of the time limit that is left for everything else that a process does at its end: on an overloaded
# machine, ending the interpreter with PyTorch in it took over 10 s.
_MARGIN = 0.25
Kind = Literal["metrics", "media"]


class Delivery:
    """Records entries and waits until they have arrived; belongs to the process that made it.

    There is one outbox for metrics and tables, and one for uploads, which must not hold up the curve. Making a
    delivery costs nothing; the first entry makes the file, in `azureml-metrics/` below `folder`, and starts the relay,
    which has `timeout` seconds after this process, and the environment `variables` to sign in. `how` the outboxes are
    kept, `Outbox` says.

    Raises:
        UserError: the backend's SDK is not installed.
    """

    def __init__(
        self, address: RunAddress, backend: str, folder: Path, timeout: float, variables: dict[str, str], **how: Any
    ) -> None:
        backends.require(backend, address.tracking_uri)
        self.pid = os.getpid()
        self._address = address
        self._timeout = timeout
        self._folder = folder / "azureml-metrics"
        stem = f"{address.run_id}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        paths: dict[Kind, Path] = {kind: self._folder / f"{stem}-{kind}.jsonl" for kind in get_args(Kind)}
        self.outboxes = {
            kind: RelayedOutbox(path, address, backend, timeout, variables, **how) for kind, path in paths.items()
        }
        self._late: dict[RelayedOutbox, int] = {}  # what the latest wait gave up on, with the bytes that were in it
        self._unrecorded = 0
        self._warned: set[str] = set()
        self._ended = False
        atexit.register(self.at_exit)

    def write(self, lines: str, kind: Kind = "metrics") -> None:
        """Record whole lines. What a full disk does not take is counted, and warned of once; the training goes on."""
        with LOCK:
            try:
                self.outboxes[kind].append(lines)
            except OSError as error:
                self._unrecorded += lines.count("\n")
                self._warn_once(f"{error.errno}", f"cannot record {kind}; the training goes on without them: {error}")

    def add(self, kind: Kind, entry: dict[str, Any]) -> None:
        """Record one entry."""
        self.write(entry_line(entry), kind)

    def add_file(self, entry: dict[str, Any], path: str, save: Callable[[Path], object]) -> None:
        """Record an entry that refers to a file, which `save` writes to the path that is passed to it."""
        file = files_folder(self.outboxes["media"].path) / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            save(file)
        except OSError as error:
            rank_zero_warn(f"AzureMLLogger cannot record {path!r}: {error}")
        else:
            self.add("media", entry | {"path": path})

    def end(self, status: str, why: str | None = None) -> None:
        """End an interactive run with a status, once, after everything before; leave any other run alone."""
        if self._must_end_run():
            self._ended = True
            self.add("metrics", {"end": status, "reason": why})

    def drain(self, seconds: float) -> None:
        """Wait until everything has arrived, at most `seconds`, and warn of what has not.

        What a wait gave up on is not waited for again, by a `test` after a `fit`, say, until that has arrived.
        """
        if any(outbox.is_sending and not outbox.settled(size) for outbox, size in self._late.items()):
            seconds = 0.0
        until = time.monotonic() + seconds * (1 - _MARGIN)
        outboxes = [outbox for outbox in self.outboxes.values() if outbox.size]
        soon = min(until, time.monotonic() + _QUIET_SECONDS)
        if not all(outbox.wait(soon) for outbox in outboxes) and soon < until:
            left = until - soon
            rank_zero_info(
                f"Waiting for {self._address.service} to take what was logged last, at most {left:.0f} s more ..."
            )
            for outbox in outboxes:
                outbox.wait(until)
        self._late = {outbox: outbox.size for outbox in outboxes if not outbox.settled(outbox.size)}
        self._warn(outboxes)

    def finish(self, error: BaseException | None = None) -> None:
        """End an interactive run, unless it has ended otherwise, and wait for everything; `error` ends the process."""
        if self.pid != os.getpid():  # a forked child inherits the exit handler, but not the delivery
            return
        if self._must_end_run():
            self.drain(self._timeout)  # uploads have a relay of their own: they come before the end
            self.end("Completed" if error is None else outcome("failed", error), reason(error))
        self.drain(self._timeout)

    def close(self) -> None:
        """Finish, and let the relays end: nothing more can be recorded here."""
        self.finish()
        atexit.unregister(self.at_exit)
        if self.pid == os.getpid():
            for outbox in self.outboxes.values():
                outbox.close()

    def at_exit(self) -> None:
        """Finish, at the end of the process."""
        # An uncaught exception has been printed by now, and Python remembers it; a notebook (`ps1`) does so
        # for each cell, and goes on.
        self.finish(None if hasattr(sys, "ps1") else getattr(sys, "last_value", None))

    def _must_end_run(self) -> bool:
        """Return whether something was logged to an interactive run, here or by processes made from this one."""
        is_open = self._address.ended_here and not self._ended
        return is_open and any(self._folder.glob(f"{self._address.run_id}-*.jsonl"))

    def _warn(self, outboxes: list[RelayedOutbox]) -> None:
        states = [Progress.read(outbox.path) for outbox in outboxes]
        left = {outbox.path: number for outbox in outboxes if (number := pending(outbox.path))}
        if left:
            reasons = dict.fromkeys(state.error for state in states if state.error)
            files = " ".join(str(path) for path in left)
            server = self._address.tracking_uri if self._address.tracking_uri.startswith("http") else ""
            command = f"{server and f'MLFLOW_TRACKING_URI={server} '}python -m lightning_cifar.azure.replay {files}"
            self._warn_once(
                "left",
                f"{sum(left.values())} entries have not reached {self._address.service} "
                f"({'; '.join(reasons) or 'no answer'}). They are kept in {files}; "
                f"send them later with: {command}",
            )
        if self._unrecorded:
            self._warn_once("unrecorded", f"{self._unrecorded} entries could not be recorded, and are lost")
        for state in states:
            for why in state.dropped.keys() & SAID_AT_END:
                what = f"{state.dropped[why]} entries are kept on disk but not sent ({why})"
                self._warn_once(why, f"{what}, such as: {state.examples[why]}")

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            rank_zero_warn(f"AzureMLLogger: {message}")
