"""A process of its own that sends a spool: `python -m lightning_cifar.azure.relay SPOOL --parent PID …`.

Why a process: what is handed to the SDK inside the training process can keep that process from ending for
hours, because the interpreter waits for the SDK's worker threads and these finish every queued retry. A
process can be ended; it also keeps the SDK's import (1 s, 100 MB) and work off the training's interpreter
lock. It has its own session, so that Ctrl-C at the terminal does not hit it, and sees that the training
process is gone, even by SIGKILL, because its parent changes, or that it has closed the logger, because it hears
so on its standard input; from then on it has a time limit.

Why it forks a worker for each attempt: after a failure the SDK's threads may still hold the batch that failed
and store it later. Ending the worker ends them, and the next one first reads back what the service has, so
nothing is sent twice; a call into the SDK that never returns ends the same way. The import is paid once,
before the first fork (it starts no thread); starting the interpreter anew for each attempt took 5 s on a busy
machine of 2 cores.
"""

import argparse
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from lightning_cifar.azure.attempt import FATAL, REFUSED, Attempt
from lightning_cifar.azure.board import Board
from lightning_cifar.azure.outbox import Progress, read_entries, read_header
from lightning_cifar.azure.process import HOPELESS
from lightning_cifar.azure.run import import_azureml
from lightning_cifar.azure.sharing import Lock, take_newest_token
from lightning_cifar.errors import UserError

TICK_SECONDS = 0.25
SYNC_SECONDS = 1.0
# Between attempts: 1, 2, 4, … seconds, at most this; less once somebody waits for the end.
MAX_PAUSE_SECONDS = 15.0
HURRIED_PAUSE_SECONDS = 2.0
# While the processors are busy, Linux gives a process of niceness 5 a third of the weight of the training's.
NICENESS = 5
# A step (open the run, read back, send one chunk) that takes longer is taken for wedged; a checkpoint takes
# its time.
STEP_SECONDS = 90.0
UPLOAD_SECONDS = 900.0


class Relay:
    """Keeps a worker at a spool until the training process is gone and nothing is left, or the time is up.

    Args:
        spool: the file.
        parent: process id of the training process, whose child this is.
        seconds: how long it may go on after the training process is gone.
    """

    def __init__(self, spool: Path, parent: int, seconds: float) -> None:
        self._spool, self._parent, self._seconds = spool, parent, seconds
        self._address, self._start = read_header(spool)
        self._handle = spool.open("rb")
        self._lock = Lock(self._address, spool.stem)
        self._locked = False
        self._board = Board()
        self._worker: int | None = None
        self._failures = 0
        self._next_attempt = self._next_hurried_attempt = 0.0
        self._gone_at: float | None = None
        self._closed = False
        self._synced_at, self._synced_size = 0.0, 0
        self._step_seconds = UPLOAD_SECONDS if spool.stem.endswith("-media") else STEP_SECONDS

    def run(self) -> int:
        """Forward to the end and return the exit code: 0 all sent, `HOPELESS`, 3 the time was up."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # SIGCONT is harmless to a process that does not handle it yet, so the trainer may send it at any
        # time.
        signal.signal(signal.SIGCONT, self._be_quick)
        try:
            import_azureml()  # for the workers
        except UserError as error:
            _record(self._spool, error, fatal=True)
            return HOPELESS
        while True:
            now = time.monotonic()
            self._sync(now)
            if os.getppid() != self._parent or self._closed:
                self._board.gone = True
                self._gone_at = self._gone_at or now
                if now > self._gone_at + self._seconds:
                    self._kill()
                    return 3
            code = self._look_after_worker(now)
            if code is not None:
                return code
            self._rest()

    def _rest(self) -> None:
        if self._closed:
            time.sleep(TICK_SECONDS)
        elif select.select([0], [], [], TICK_SECONDS)[0]:
            self._closed = True

    def _look_after_worker(self, now: float) -> int | None:
        if not self._locked:
            # Another one is at this spool, or at a copy of it: a replay, say. It may never end: the time limit
            # holds all the same.
            self._locked = self._lock.take()
            return None
        if self._worker is None:
            if not self._work_to_do():
                return 0 if self._board.gone else None
            if now >= self._next_attempt or (self._in_a_hurry and now >= self._next_hurried_attempt):
                self._worker = self._fork()
            return None
        pid, status = os.waitpid(self._worker, os.WNOHANG)
        if pid == 0:
            if self._board.step_began and now > self._board.step_began + self._step_seconds:
                self._kill()
                self._failed(now)
                _record(self._spool, TimeoutError(f"no answer within {self._step_seconds:.0f} s"))
            return None
        self._worker = None
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return 0
        if code == FATAL:
            return HOPELESS
        if code == REFUSED:
            self._next_attempt = self._next_hurried_attempt = now
        else:
            self._failed(now)
        return None

    def _failed(self, now: float) -> None:
        self._failures = 1 if self._board.succeeded else self._failures + 1
        self._board.succeeded = False
        pause = min(2.0 ** (self._failures - 1), MAX_PAUSE_SECONDS)
        self._next_attempt = now + max(pause, self._board.retry_after)
        self._next_hurried_attempt = now + min(pause, HURRIED_PAUSE_SECONDS)
        self._board.hurry = False

    def _work_to_do(self) -> bool:
        progress = Progress.read(self._spool)
        if any(True for _ in read_entries(self._spool, max(progress.offset, self._start))):
            return True
        return bool(self._board.gone) and Attempt.must_end_run(self._spool, self._address, progress)

    def _fork(self) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        self._board.step_began = 0.0
        take_newest_token()
        forwarder = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._lock.leave()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the standard input is the training process's word
            Attempt(self._spool, self._address, self._start, self._board, forwarder).run()
        return pid

    def _kill(self) -> None:
        if self._worker is not None:
            os.kill(self._worker, signal.SIGKILL)
            os.waitpid(self._worker, 0)
            self._worker = None

    def _sync(self, now: float) -> None:
        if now < self._synced_at + SYNC_SECONDS:
            return
        size = os.fstat(self._handle.fileno()).st_size
        if size != self._synced_size:
            os.fsync(self._handle.fileno())
            self._synced_at, self._synced_size = now, size

    @property
    def _in_a_hurry(self) -> bool:
        return bool(self._board.gone or self._board.hurry)

    def _be_quick(self, *_: Any) -> None:
        self._board.hurry = True


def _record(spool: Path, error: Exception, fatal: bool = False) -> None:
    progress = Progress.read(spool)
    progress.error, progress.fatal = str(error), fatal
    progress.write(spool)


def main() -> NoReturn:
    """Read the command line that `AzureMLLogger` and `replay` write, and forward."""
    parser = argparse.ArgumentParser(description="Sends a spool to Azure ML; started by AzureMLLogger and replay.")
    parser.add_argument("spool", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    os.nice(NICENESS)
    sys.exit(Relay(args.spool.absolute(), args.parent, args.seconds).run())


if __name__ == "__main__":
    main()
