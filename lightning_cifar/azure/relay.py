"""The relay: a process of its own that sends a record, `python -m lightning_cifar.azure.relay RECORD PARENT SECONDS`.

Why a process: what is handed to the SDK inside the training process can keep that process from ending for
hours, because the interpreter waits for the SDK's worker threads and these finish every queued retry. A
process can be ended; it also keeps the SDK's import (1 s, 100 MB) and work off the training's interpreter
lock. It has its own session, so that Ctrl-C at the terminal does not hit it, and sees that the training
process is gone, even by SIGKILL, because its parent changes, or that it has closed the logger, because it hears
so on its standard input; from then on it has a time limit.

Why it forks a process for each attempt: after a failure the SDK's threads may still hold the batch that failed and
store it later. Ending the attempt ends them, and the next one first reads back what the service has, so nothing is sent
twice; a call into the SDK that never returns ends the same way. The import is paid once, before the first fork (it
starts no thread); starting the interpreter anew for each attempt, as on macOS, took 5 s on a busy machine of 2 cores.
"""

import contextlib
import gc
import math
import multiprocessing
import os
import select
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any, NoReturn

from lightning_cifar.azure import backends
from lightning_cifar.azure.attempt import MAX_ENTRIES, Flags, must_end_run, run_attempt
from lightning_cifar.azure.outbox import Progress, read_entries, read_header, sync
from lightning_cifar.azure.process import HOPELESS, NO_FORK
from lightning_cifar.azure.sharing import RecordLock, take_newest_token
from lightning_cifar.errors import UserError

TIME_IS_UP = 3
"""Exit code of a relay that had more to send after its time limit."""
START = "spawn" if sys.platform == "darwin" else "fork"
"""How an attempt's process is made: on macOS an HTTPS request in a forked one may crash in the system's libraries."""
# How often this looks at a running attempt (each look interrupts a thread of the training), and at what holds one up.
SUPERVISE_SECONDS = 1.0
TICK_SECONDS = 0.25
# Between attempts: 1, 2, 4, … seconds, at most this; less once somebody waits for the end.
MAX_PAUSE_SECONDS = 15.0
HURRIED_PAUSE_SECONDS = 2.0
MAX_RETRY_AFTER_SECONDS = 60.0
"""A service that asks to be left alone for longer is asked again all the same."""
# While the processors are busy, Linux gives a process of niceness 5 a third of the weight of the training's.
NICENESS = 5
# A request that takes longer is taken for hung; a checkpoint takes its time.
STEP_SECONDS = 90.0
UPLOAD_SECONDS = 900.0


class Relay:
    """Keeps an attempt at a record until nothing more will be logged and nothing is left, or the time is up.

    `parent` is the process id of the training process; `seconds` is how long this may go on after it is gone.
    """

    def __init__(self, record: Path, parent: int, seconds: float) -> None:
        self._record, self._parent, self._seconds = record, parent, seconds
        self._header = read_header(record)
        self._lock = RecordLock(self._header.address, record)
        self._flags = RawValue(Flags)
        self._flags.entries = MAX_ENTRIES
        self._attempt: BaseProcess | None = None
        self._heard, self._news = multiprocessing.Pipe(duplex=False)
        os.set_blocking(self._news.fileno(), False)
        self._failures = 0
        self._failed_at = 0.0
        self._until = math.inf
        self._step_seconds = UPLOAD_SECONDS if record.stem.endswith("-media") else STEP_SECONDS

    def run(self) -> int:
        """Send to the end and return the exit code: 0 all sent, `HOPELESS`, or `TIME_IS_UP`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it, as the training may, never hears of an end
        # SIGCONT is harmless to a process that does not handle it yet, so the trainer may send it at any time.
        signal.signal(signal.SIGCONT, self._hurry)
        try:
            address = self._header.address
            backends.load(self._header.backend, address.tracking_uri)  # once, for all attempts that are forked
            gc.freeze()  # a look at each object would give each attempt a copy of the SDK's memory
            while (code := self._supervise()) is None:
                self._rest()
            return code
        except UserError as error:
            Progress.note_error(self._record, str(error))
            return HOPELESS
        finally:
            self._kill()

    def _rest(self) -> None:
        """Wait for the next look, the end of the attempt, or that of the training process or its logger."""
        longest = TICK_SECONDS if self._attempt is None else SUPERVISE_SECONDS
        ends = [] if self._attempt is None else [self._attempt.sentinel]
        seconds = min(longest, max(0.0, self._until - time.monotonic()))
        ready, _, _ = select.select(ends if self._flags.closing else [0, *ends], [], [], seconds)
        if not self._flags.closing and (0 in ready or os.getppid() != self._parent):
            self._flags.closing = True
            self._until = time.monotonic() + self._seconds
            self._wake()
            sync(self._record)  # as the training process did while it was there

    def _supervise(self) -> int | None:
        """Start an attempt, or look after the one there is; return the exit code once nothing is left to do."""
        now = time.monotonic()
        if now >= self._until:
            self._kill()
            return TIME_IS_UP
        if not self._lock.take():  # another process is at this record, or at a copy of it: a replay, say
            return None
        if self._attempt is None:
            if not self._anything_to_do():
                return 0 if self._flags.closing else None
            longest = HURRIED_PAUSE_SECONDS if self._flags.closing or self._flags.hurry else MAX_PAUSE_SECONDS
            # 2.0 ** 1024 is none
            pause = min(2.0 ** min(self._failures - 1, 9), longest) if self._failures else 0.0
            asked = min(self._flags.retry_after, MAX_RETRY_AFTER_SECONDS)
            if now >= self._failed_at + max(pause, asked):
                self._attempt = self._start()
            return None
        code = self._attempt.exitcode
        if code is not None:
            self._attempt = None
            if code in (0, HOPELESS):
                return code
        elif self._flags.step_began and now > self._flags.step_began + self._step_seconds:
            self._kill()
            Progress.note_error(self._record, f"no answer within {self._step_seconds:.0f} s")
        if self._attempt is None:
            self._failures = 1 if self._flags.answered else self._failures + 1
            self._failed_at = now
            self._flags.answered = self._flags.hurry = False
        return None

    def _anything_to_do(self) -> bool:
        progress = Progress.read(self._record)
        if any(True for _ in read_entries(self._record, progress.offset)):
            return True
        return self._flags.closing and must_end_run(self._record, self._header.address, progress)

    def _start(self) -> BaseProcess:
        self._flags.step_began = self._flags.retry_after = 0.0
        take_newest_token(self._header.address)
        given = (self._record, self._header, self._flags, self._heard, os.getpid())
        context: Any = multiprocessing.get_context(START)  # typeshed knows a Process of each, of all in common none
        attempt: BaseProcess = context.Process(target=run_attempt, args=given)
        attempt.start()
        return attempt

    def _kill(self) -> None:
        if self._attempt is not None:
            self._attempt.kill()
            self._attempt.join()
            self._attempt = None

    def _hurry(self, *_: Any) -> None:
        if not self._flags.hurry:
            self._flags.hurry = True
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full of words that no attempt has read
            os.write(self._news.fileno(), b"!")  # not by `send`: an attempt may be killed halfway through a message


def main() -> NoReturn:
    """Read the command line that `process.start_relay` writes, and send."""
    record, parent, seconds = sys.argv[1:]
    if not hasattr(os, "fork"):
        Progress.note_error(Path(record), NO_FORK)
        sys.exit(HOPELESS)
    os.nice(NICENESS)
    sys.exit(Relay(Path(record), int(parent), float(seconds)).run())


if __name__ == "__main__":
    main()
