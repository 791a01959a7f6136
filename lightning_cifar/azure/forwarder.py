"""A process of its own that hands a spool to the service: `python -m lightning_cifar.azure.forwarder SPOOL …`.

Why a process: what is handed to the SDK inside the training process can keep that process from ending for hours,
because the interpreter waits for the SDK's worker threads and these finish every queued retry. A process can be
ended; it also keeps the SDK's import (1 s, 100 MB) and work off the training's interpreter lock. It has its own
session, so that Ctrl-C at the terminal does not hit it, and sees that the training process is gone, even by SIGKILL,
because its parent changes; it then has a time limit for the rest.

Why it starts itself anew after a failure (`exec`): the SDK's threads may still hold the batch that failed and store
it later. `exec` ends them and keeps the process id; the new start first reads back what the service has, so nothing
is sent twice. The same way out serves when a call into the SDK never returns.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning_cifar.azure.run import status_of
from lightning_cifar.azure.sender import Sender
from lightning_cifar.azure.spool import Progress, files_folder, read_entries, read_header
from lightning_cifar.errors import UserError

MODULE = "lightning_cifar.azure.forwarder"
POLL_SECONDS = 0.5
# One flush costs two requests at least; entries of this time share one. A metric is live within 5 s all the same.
GATHER_SECONDS = 1.0
# Between attempts: 1, 2, 4, … seconds, at most this; less once somebody waits for the end.
MAX_PAUSE_SECONDS = 15.0
HURRIED_PAUSE_SECONDS = 2.0
# A step (open the run, read back, send one chunk) that takes longer is taken for wedged.
STEP_SECONDS = 90.0
CHUNK = 2000


@dataclass
class Attempt:
    """What one start hands to the next: failures in a row, entries per chunk, since when the trainer is gone."""

    failures: int = 0
    chunk: int = CHUNK
    gone_since: float | None = None


class Forwarder:
    """Sends one spool until its training process is gone and nothing is left, or the time is up.

    Args:
        spool: the file.
        parent: process id of the training process, whose child this is.
        seconds: how long it may go on after the training process is gone.
        attempt: what the start before this one learnt.
    """

    def __init__(self, spool: Path, parent: int, seconds: float, attempt: Attempt) -> None:
        self.spool, self.parent, self.seconds, self.attempt = spool, parent, seconds, attempt
        self.address, start = read_header(spool)
        self.progress = Progress.read(spool)
        self.progress.offset = max(self.progress.offset, start)
        self._step_began: float | None = None
        self._hurry = False
        self._synced = 0
        self._handle = spool.open("rb")

    def run(self) -> NoReturn:
        """Send until the end; leave by `os._exit`, because the SDK's threads would hold up an orderly exit."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # SIGCONT does nothing to a process that does not handle it, so it may come at any time, also between
        # `exec` and this line.
        signal.signal(signal.SIGCONT, self._be_quick)
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            self._forward()
        except UserError as error:
            self._record(error, fatal=True)
            os._exit(1)
        except BaseException as error:
            self._again(error)
        os._exit(0)

    def _forward(self) -> None:
        sender: Sender | None = None
        while True:
            gone = self._trainer_is_gone()
            batch = self._next_batch(final=gone)
            if batch:
                if not (gone or self._hurry):
                    time.sleep(GATHER_SECONDS)
                    batch = self._next_batch(final=gone)
                self._step_began = time.monotonic()
                sender = sender or self._open()
                self._settle(sender, batch)
                self._step_began = None
            elif gone:
                if self.address.interactive and not self.progress.ended and self._sends_metrics():
                    self._end(sender or self._open(), "Failed", "the training process ended without a word")
                return
            else:
                self._hurry = False
                self._pause(POLL_SECONDS)

    def _next_batch(self, final: bool) -> list[tuple[dict[str, Any], int]]:
        """Return the next entries; an end that may not be the last word (`now` unset) waits until it is."""
        batch: list[tuple[dict[str, Any], int]] = []
        for entry, offset in read_entries(self.spool, self.progress.offset):
            if "end" in entry and batch:
                break
            batch.append((entry, offset))
            if len(batch) == self.attempt.chunk:
                break
        if batch and "end" in batch[0][0]:
            if len(batch) > 1 or final or batch[0][0]["now"]:
                return batch[:1]
            return []
        return batch

    def _open(self) -> Sender:
        os.chdir(files_folder(self.spool) if files_folder(self.spool).is_dir() else self.spool.parent)
        try:
            run = self.address.open()
        except Exception as error:
            if status_of(error) != 404:
                raise
            raise UserError(
                f"run {self.address.run_id} is not in workspace {self.address.workspace!r}: "
                "check that the file is this workspace's"
            ) from error
        sender = Sender(run, files_folder(self.spool))
        sender.read_back()
        return sender

    def _settle(self, sender: Sender, batch: list[tuple[dict[str, Any], int]]) -> None:
        entries, offset = [entry for entry, _ in batch], batch[-1][1]
        if "end" in entries[0]:
            if self._trainer_is_gone() or entries[0]["now"]:
                self._end(sender, entries[0]["end"], entries[0].get("reason"))
            self._confirm(offset)
            return
        try:
            unsendable = sender.send(entries)
        except Exception as error:
            if len(batch) > 1 or not _final(error):
                raise
            # A single entry that the service refuses for good must not hold up the others.
            self.progress.rejected = [*self.progress.rejected, f"{_short(entries[0])}: {_line(error)}"][-20:]
            self._confirm(offset)
            self._restart()
        for reason, number in unsendable.items():
            self.progress.unsendable[reason] = self.progress.unsendable.get(reason, 0) + number
        self.progress.rejected = [*self.progress.rejected, *sender.rejected][-20:]
        sender.rejected.clear()
        self.progress.confirmed += len(entries) - unsendable.total()
        self._confirm(offset)
        for entry in entries:
            if "path" in entry:
                (files_folder(self.spool) / entry["path"]).unlink(missing_ok=True)
        self.attempt.failures = 0
        self.attempt.chunk = min(CHUNK, self.attempt.chunk * 8)

    def _end(self, sender: Sender, status: str, reason: str | None = None) -> None:
        sender.end(status, reason)
        self.progress.ended = status
        self._confirm(self.progress.offset)

    def _confirm(self, offset: int) -> None:
        self.progress.offset, self.progress.error, self.progress.fatal = offset, None, False
        self.progress.write(self.spool)

    def _sends_metrics(self) -> bool:
        """Whether this spool is the one whose forwarder ends the run: the other holds images and files."""
        return not self.spool.stem.endswith("-media")

    def _again(self, error: BaseException) -> NoReturn:
        self._step_began = None
        if _final(error):
            self.attempt.chunk = max(1, self.attempt.chunk // 8)
        else:
            self.attempt.failures += 1
        self._record(error)
        pause = min(2.0 ** max(0, self.attempt.failures - 1), MAX_PAUSE_SECONDS)
        self._pause(max(pause, _retry_after(error)))
        self._restart()

    def _restart(self) -> NoReturn:
        command = [sys.executable, "-m", MODULE, str(self.spool), "--parent", str(self.parent)]
        command += ["--seconds", str(self.seconds), "--attempt", json.dumps(asdict(self.attempt))]
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, command)

    def _record(self, error: BaseException, fatal: bool = False) -> None:
        print(f"{time.strftime('%F %T')} {_line(error)}", file=sys.stderr, flush=True)
        self.progress.error, self.progress.fatal = _line(error), fatal
        self.progress.write(self.spool)

    def _pause(self, seconds: float) -> None:
        """Wait, but not for long once somebody waits for the end, and no further when the trainer goes."""
        began, was_gone = time.monotonic(), self._trainer_is_gone()
        while time.monotonic() < began + seconds and self._trainer_is_gone() == was_gone:
            if self._hurry and seconds <= POLL_SECONDS:
                return
            if (self._hurry or was_gone) and time.monotonic() > began + HURRIED_PAUSE_SECONDS:
                return
            time.sleep(0.05)

    def _be_quick(self, *_: Any) -> None:
        self._hurry = True

    def _trainer_is_gone(self) -> bool:
        return os.getppid() != self.parent

    def _watch(self) -> None:
        """Sync the spool to disk once a second, and end what takes too long, whatever the main thread hangs in."""
        while True:
            time.sleep(0.5)
            size = os.fstat(self._handle.fileno()).st_size
            if size != self._synced:
                os.fsync(self._handle.fileno())
                self._synced = size
            now = time.time()
            if self._trainer_is_gone():
                self.attempt.gone_since = self.attempt.gone_since or now
                if now > self.attempt.gone_since + self.seconds:
                    os._exit(3)
            if self._step_began is not None and time.monotonic() > self._step_began + STEP_SECONDS:
                self.attempt.failures += 1
                self._record(TimeoutError(f"no answer within {STEP_SECONDS:.0f} s"))
                self._restart()


def _final(error: BaseException) -> bool:
    """Whether the service refused what was sent, so that sending it again is no use."""
    status = status_of(error)
    return status is not None and 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 429)


def _retry_after(error: BaseException | None) -> float:
    """Return the seconds that the service asked to wait; the SDK itself ignores them."""
    while error is not None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        try:
            return min(float(headers.get("Retry-After", 0)), 60.0)
        except (TypeError, ValueError, AttributeError):
            error = error.__cause__ or error.__context__
    return 0.0


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _short(entry: dict[str, Any]) -> str:
    return json.dumps(entry, default=str)[:100]


def main() -> None:
    """Read the command line that `AzureMLLogger` and `replay` write, and forward."""
    parser = argparse.ArgumentParser(description="Hands a spool to Azure ML; started by AzureMLLogger and replay.")
    parser.add_argument("spool", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--attempt", type=lambda text: Attempt(**json.loads(text)), default=Attempt())
    args = parser.parse_args()
    # Read by the SDK when it is imported: its waits of up to 128 s are no use to a process that tries again itself.
    for name in ("AZUREML_DEFAULT_BACKOFF", "AZUREML_DEFAULT_500_BACKOFF", "AZUREML_DEFAULT_503_BACKOFF"):
        os.environ[name] = "1"
    Forwarder(args.spool.absolute(), args.parent, args.seconds, args.attempt).run()


if __name__ == "__main__":
    main()
