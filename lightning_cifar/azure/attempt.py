"""One attempt at sending a spool, in a process that a failure ends: see `forwarder`."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from lightning_cifar.azure.backends.sdk_v1 import FLUSH_SECONDS, Sender
from lightning_cifar.azure.board import CHUNK, Board
from lightning_cifar.azure.outbox import Progress, files_folder, read_entries
from lightning_cifar.azure.run import RunAddress, not_importable, status_of
from lightning_cifar.azure.sharing import RunLock, share_token
from lightning_cifar.errors import UserError

POLL_SECONDS = 0.4
# One flush costs two requests at least; entries of this time share one. A metric is live within 5 s all the
# same.
GATHER_SECONDS = 2.5
# Exit codes, besides 0: try again later; do not try again; try again at once, with a smaller chunk.
FAILED, FATAL, REFUSED = 1, 2, 4
_PR_SET_PDEATHSIG = 1
TURN_POLL_SECONDS = 0.1
Batch = list[tuple[dict[str, Any], int]]


class Attempt:
    """Sends until the training process is gone and nothing is left, or until the first failure.

    Args:
        spool: the file.
        address: its run.
        start: offset of the first entry.
        board: shared with the forwarder.
        forwarder: process id of it, as it was before the fork.
    """

    def __init__(self, spool: Path, address: RunAddress, start: int, board: Board, forwarder: int) -> None:
        self._spool, self._address, self._board = spool, address, board
        self._forwarder = forwarder
        self._is_media = spool.stem.endswith("-media")
        self._turns = RunLock(address, FLUSH_SECONDS)
        self._token = os.environ.get("AZUREML_RUN_TOKEN")
        self._progress = Progress.read(spool)
        self._progress.offset = max(self._progress.offset, start)
        self._sender: Sender | None = None

    @staticmethod
    def must_end_run(spool: Path, address: RunAddress, progress: Progress) -> bool:
        """Whether an interactive run is to be ended: by the forwarder of its metrics, not of its files."""
        return address.ended_here and not progress.ended and not spool.stem.endswith("-media")

    def run(self) -> NoReturn:
        """Send; leave by `os._exit`, because the SDK's threads would hold up an orderly exit."""
        code = FAILED
        try:
            _die_with_the_parent()
            self._forward()
            code = 0
        except UserError as error:
            self._record(error, fatal=True)
            code = FATAL
        except ImportError as error:
            self._record(not_importable(error), fatal=True)
            code = FATAL
        except Exception as error:
            self._record(error)
            self._board.retry_after = _retry_after(error)
            if _refused(error):
                self._board.chunk = max(1, self._board.chunk // 8)
                code = REFUSED
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _forward(self) -> None:
        while os.getppid() == self._forwarder:
            gone = bool(self._board.gone)
            batch = self._next_batch()
            if batch:
                if not (gone or self._board.hurry):
                    time.sleep(GATHER_SECONDS)
                    batch = self._next_batch()
                with self._turn(), self._step():
                    self._settle(batch)
            elif gone:
                if self.must_end_run(self._spool, self._address, self._progress):
                    with self._step():
                        self._end("Failed", "the training process ended without a word")
                return
            else:
                self._board.hurry = False
                self._share_token()
                time.sleep(POLL_SECONDS)

    def _next_batch(self) -> Batch:
        """Return the next entries: many metrics and tables, or one of anything else."""
        batch: Batch = []
        for entry, offset in read_entries(self._spool, self._progress.offset):
            alone = not ("metric" in entry or "table" in entry)
            if alone and batch:
                break
            batch.append((entry, offset))
            if alone or len(batch) >= self._board.chunk:
                break
        return batch

    def _settle(self, batch: Batch) -> None:
        entries, offset = [entry for entry, _ in batch], batch[-1][1]
        others_turn, new = not self._is_media and self._turns.after_another(), self._sender is None
        self._touch()
        sender = self._open()
        if others_turn and not new:
            sender.read_back()
        if "end" in entries[0]:
            self._end(entries[0]["end"], entries[0].get("reason"))
            self._confirm(offset)
            return
        try:
            with self._in_flight():
                unsendable = sender.send(entries)
        except Exception as error:
            if len(batch) == 1 and _refused(error):
                # One entry that the service refuses for good must not hold up the others.
                self._reject(f"{json.dumps(entries[0])[:100]}: {_line(error)}")
                self._confirm(offset)
            raise
        for reason, number in unsendable.items():
            self._progress.unsendable[reason] = self._progress.unsendable.get(reason, 0) + number
        self._reject(*sender.rejected)
        sender.rejected.clear()
        self._progress.missing += sender.take_missing()
        self._progress.left_out = sorted({*self._progress.left_out, *sender.left_out})
        self._progress.confirmed += len(entries) - unsendable.total()
        self._confirm(offset)
        self._board.succeeded = True
        self._share_token()
        self._board.chunk = min(CHUNK, self._board.chunk * 8)
        for entry in entries:
            if "path" in entry:
                (files_folder(self._spool) / entry["path"]).unlink(missing_ok=True)

    def _open(self) -> Sender:
        if self._sender is None:
            folder = files_folder(self._spool)
            os.chdir(folder if folder.is_dir() else self._spool.parent)
            try:
                run = self._address.open()
            except Exception as error:
                if status_of(error) != 404:
                    raise
                raise UserError(
                    f"run {self._address.run_id} is not in workspace {self._address.workspace!r}: "
                    "check that the file is this workspace's"
                ) from error
            self._touch()
            self._sender = Sender(run, folder, self._touch)
            self._sender.read_back()
        return self._sender

    def _share_token(self) -> None:
        token = None if self._sender is None else self._sender.token
        if token and token != self._token:
            self._token = token
            share_token(token)

    def _end(self, status: str, reason: str | None = None) -> None:
        self._open().end(status, reason)
        self._progress.ended = status
        self._confirm(self._progress.offset)

    def _reject(self, *messages: str) -> None:
        self._progress.refused += len(messages)
        self._progress.rejected = [*self._progress.rejected, *messages][-20:]

    def _confirm(self, offset: int) -> None:
        self._progress.offset, self._progress.error, self._progress.fatal = offset, None, False
        self._progress.write(self._spool)

    def _record(self, error: Exception, fatal: bool = False) -> None:
        print(f"{time.strftime('%F %T')} {_line(error)}", file=sys.stderr)
        self._progress.error, self._progress.fatal = _line(error), fatal
        self._progress.write(self._spool)

    @contextlib.contextmanager
    def _turn(self) -> Any:
        if self._is_media:  # uploads cannot be compared with what is there, so turns would be of no use
            yield
            return
        while not self._turns.take():
            if os.getppid() != self._forwarder:
                os._exit(FAILED)
            time.sleep(TURN_POLL_SECONDS)
        yield
        self._turns.release()

    @contextlib.contextmanager
    def _in_flight(self) -> Any:
        if self._is_media:
            yield
            return
        self._turns.note(in_flight=True)
        try:
            yield
        finally:  # not after SIGKILL: then nobody has heard the answer, and the batch may still be stored
            self._turns.note(in_flight=False)

    @contextlib.contextmanager
    def _step(self) -> Any:
        self._touch()
        yield
        self._board.step_began = 0.0

    def _touch(self) -> None:
        """Say that the service has answered: the limit of a step is for one request."""
        self._board.step_began = time.monotonic()


def _die_with_the_parent() -> None:
    """Let Linux kill this process when the forwarder is killed: a call into the SDK may never return."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _refused(error: BaseException) -> bool:
    """Whether the service refused what was sent, so that sending it again as it is is no use."""
    status = status_of(error)
    return status is not None and 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 429)


def _retry_after(error: BaseException | None) -> float:
    """Return the seconds that the service asked to wait, at most a minute; the SDK itself ignores them."""
    while error is not None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        if headers is not None:
            try:
                return min(float(headers.get("Retry-After", 0)), 60.0)
            except ValueError:  # a date
                return 0.0
        error = error.__cause__ or error.__context__
    return 0.0


def _line(error: BaseException) -> str:
    """Return an error as one line; the SDK's go on for pages."""
    message = getattr(error, "message", None)
    text = message if isinstance(message, str) else str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())[:200]
