"""Follow a submitted run: print its log as it grows, return its end as an exit code, handle Ctrl-C."""

import codecs
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType

from lightning_cifar.errors import UserError
from scripts.azure.submitter import FINAL, RunDetails, RunHandle
from scripts.console import INTERRUPTED

POLL = [1.0, 10.0]
"""Shortest and longest pause between two looks, seconds: short while the log moves."""

REMINDER = 60.0
"""Seconds after which a run that has printed nothing yet is said to be waited for still."""

_LAST_LINES, _LONGEST_REASON = 20, 300


class _Log:
    """The log of a run's first process, as far as it has been printed."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, name: str = "") -> None:
        """Forget what was printed: another log comes, from its beginning."""
        self.name, self.text, self._size = name, "", 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def print_new(self, run: RunHandle, names: list[str]) -> bool:
        """Print what is new; return whether anything is."""
        name = _first_process(names)
        if name is None:
            return False
        if name != self.name:  # the log of the first process can come after those of the others
            self.begin(name)
        content = run.log(name, self._size)
        self._size += len(content)
        new = self._decoder.decode(content)
        self.text += new
        print(new, end="", flush=True)
        return bool(new)


def until_done(run: RunHandle) -> int:
    """Print a run's log until it ends; return 0 for Completed, 130 for Canceled or unwatched; raise for Failed."""
    log = _Log()
    while True:
        try:
            return _watch(run, log)
        except KeyboardInterrupt:
            if not _go_on(run):
                return INTERRUPTED


@contextmanager
def _late_interrupt() -> Iterator[None]:
    """Raise Ctrl-C at the end only: within a request, an SDK may swallow it. A second one raises at once."""
    pressed: list[int] = []  # no Event: its lock may be held by the very code that a signal interrupts

    def note(signum: int, frame: FrameType | None) -> None:
        if pressed:
            signal.default_int_handler(signum, frame)
        pressed.append(signum)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _watch(run: RunHandle, log: _Log) -> int:
    status, pause, last_news = "", POLL[0], time.monotonic()
    while True:
        with _late_interrupt():
            details = run.details()
            waits = "" if log.text or details.status in FINAL else "; waiting for the first line of its log …"
            if details.status == "Running" and status in ("Queued", "Preparing", "Starting"):
                log.begin()  # where it ran before, its node was taken away: it starts again, with a log of its own
            if details.status != status or (waits and time.monotonic() - last_news >= REMINDER):
                status, last_news = details.status, time.monotonic()
                print(f"[{time.strftime('%H:%M:%S')}] {status}{waits}", flush=True)
            new = log.print_new(run, details.logs)
            if status in FINAL:
                return _end(run, details, log)
        pause = POLL[0] if new else min(pause * 1.3, POLL[1])
        time.sleep(pause)


def _end(run: RunHandle, details: RunDetails, log: _Log) -> int:
    if log.text and not log.text.endswith("\n"):
        print()
    if details.status == "Canceled":
        print(f"run {run.id} was canceled")
        return INTERRUPTED
    if details.status == "Completed":
        print(f"run {run.id} is completed")
        return 0
    lines = (details.reason or "no reason given.").splitlines()
    reason = lines[0].partition(" Error: ")[0][:_LONGEST_REASON]
    name, text = log.name, log.text
    for failed in re.findall(r"user_logs/\w+\.\w+", reason):  # of several processes, the one that failed
        if failed in details.logs and failed != name:
            name, text = failed, run.log(failed).decode("utf-8", errors="replace")
            break
    last = [line for line in text.splitlines() if line.strip()][-_LAST_LINES:]
    print(f"last lines of {name or 'its log'}:" if last else "it left no log")
    print("\n".join(f"  | {line}" for line in last), flush=True)
    raise UserError(f"run {run.id} failed: {reason} Everything about it: {run.studio_url}")


def _go_on(run: RunHandle) -> bool:
    """Ask what Ctrl-C is to mean; without a terminal it ends the watching, never the job."""
    question = "\n[c]ancel the job, [s]top watching (it goes on and costs on), or [w]atch on? "
    try:
        answer = input(question).strip().lower() if sys.stdin.isatty() else ""
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.startswith("c"):
        cancel(run)
    elif not answer.startswith("w"):
        print(f"\nrun {run.id} goes on; `make cancel` ends it, {run.studio_url} shows it")
        return False
    return True


def cancel(run: RunHandle) -> None:
    """Ask the platform to end a run; a UserError where it has ended already."""
    if (status := run.details().status) in FINAL:
        raise UserError(f"run {run.id} has ended already: {status}; there is nothing to cancel")
    run.cancel()
    print(f"cancelling run {run.id}", flush=True)


def download(run: RunHandle, folder: Path) -> None:
    """Copy the outputs of a run to this machine; a UserError where one of their names leads out of the folder."""
    if outside := [name for name in run.files() if name.startswith("/") or ".." in PurePosixPath(name).parts]:
        raise UserError(
            f"run {run.id} names an output {outside[0]!r}, which leads elsewhere: fetch by hand what you trust"
        )
    print(f"downloading the outputs of run {run.id} …", flush=True)
    run.download(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise UserError(f"run {run.id} has no files under outputs/; `make watch RUN={run.id}` shows how it ended")
    print(f"{len(files)} files of run {run.id} are in {folder}")


def _first_process(names: list[str]) -> str | None:
    """Return the log of rank 0: `user_logs/std_log.txt`, or `std_log_process_00.txt` of a distributed job."""
    logs = [name for name in names if name.startswith("user_logs/std_log") and not name.endswith("err.txt")]
    return min(logs or [name for name in names if "driver_log" in name], default=None)
