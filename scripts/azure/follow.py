"""Watch a submitted job: its log as it grows, its end as an exit code, Ctrl-C as a question."""

import codecs
import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cifar.errors import UserError
from scripts.azure.service_errors import explained, retried
from scripts.console import INTERRUPTED, say

if TYPE_CHECKING:
    from azureml.core import Run

FINAL = ("Completed", "Failed", "Canceled")
_POLL = (1.0, 10.0)
"""Shortest and longest pause between two looks, seconds: short while the log moves."""

_LAST_LINES, _LONGEST_REASON = 20, 300


class Log:
    """The log of a job's first process: what has been printed of it, and what has come since."""

    def __init__(self) -> None:
        self._turn("")

    def _turn(self, name: str) -> None:
        self.name, self.text, self._size = name, "", 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read_on(self, files: dict[str, str]) -> str:
        """Fetch the log from its address among the run's log files; return what is new."""
        name = _first_process(files)
        if name is None:
            return ""
        if name != self.name:
            self._turn(name)
        content = _fetch(files[name], self._size)
        self._size += len(content)
        new = self._decoder.decode(content)
        self.text += new
        return new

    def turn_to(self, names: list[str], files: dict[str, str]) -> None:
        """Take the first of `names` that is there instead: the log of the process that failed."""
        for name in names:
            if name in files and name != self.name:
                self._turn(name)
                self.text = _fetch(files[name], 0).decode("utf-8", errors="replace")
                return


def until_done(run: "Run") -> int:
    """Show a job's log until it ends.

    Returns: 0 for Completed, 1 for Failed, 130 for Canceled or if the user stops watching.

    Raises:
        UserError: the job failed; its last lines have been printed.
    """
    log = Log()
    while True:
        try:
            return _watch(run, log)
        except KeyboardInterrupt:
            if not _go_on(run):
                return INTERRUPTED


def _watch(run: "Run", log: Log) -> int:
    status, pause = "", _POLL[0]
    while True:
        with explained(f"the state of run {run.id}, which goes on"):
            details: dict[str, Any] = retried(run.get_details)
            new = retried(partial(log.read_on, details.get("logFiles") or {}))
        if details["status"] != status:
            status = details["status"]
            say(f"[{time.strftime('%H:%M:%S')}] {status}")
        if new:
            sys.stdout.write(new)
            sys.stdout.flush()
        if status in FINAL:
            return _end(run, status, details, log)
        pause = _POLL[0] if new else min(pause * 1.3, _POLL[1])
        time.sleep(pause)


def _end(run: "Run", status: str, details: dict[str, Any], log: Log) -> int:
    if log.text and not log.text.endswith("\n"):
        say()
    if status == "Canceled":
        say(f"run {run.id} was canceled")
        return INTERRUPTED
    if status == "Failed":
        message = ((details.get("error") or {}).get("error") or {}).get("message") or "no reason given."
        reason = message.splitlines()[0].partition(" Error: ")[0][:_LONGEST_REASON]
        log.turn_to(re.findall(r"user_logs/\w+\.\w+", reason), details.get("logFiles") or {})
        lines = [line for line in log.text.splitlines() if line.strip()]
        say(f"last lines of {log.name or 'its log'}:" if lines else "it left no log")
        say("\n".join(f"  | {line}" for line in lines[-_LAST_LINES:]))
        raise UserError(f"run {run.id} failed: {reason} Everything about it: {run.get_portal_url()}")
    say(f"run {run.id} is completed")
    return 0


def _go_on(run: "Run") -> bool:
    """Ask what Ctrl-C is to mean; without a terminal it ends the watching, never the job."""
    answer = "s"
    if sys.stdin.isatty():
        try:
            answer = (
                input("\n[c]ancel the job, [s]top watching (it goes on and costs on), or [w]atch on? ").strip().lower()
            )
        except (EOFError, KeyboardInterrupt):
            answer = "s"
    if answer.startswith("c"):
        cancel(run)
        return True
    if answer.startswith("w"):
        return True
    say(f"\nrun {run.id} goes on; `make cancel` ends it, {run.get_portal_url()} shows it")
    return False


def cancel(run: "Run") -> None:
    """Ask the platform to end a job.

    Raises:
        UserError: it has ended already, or the service refuses.
    """
    with explained(f"cancelling run {run.id}"):
        status = retried(run.get_status)
        if status in FINAL:
            raise UserError(f"run {run.id} has ended already: {status}; there is nothing to cancel")
        retried(run.cancel)
    say(f"cancelling run {run.id}")


def download(run: "Run", folder: Path) -> None:
    """Bring the outputs of a run to this machine."""
    with explained(f"the outputs of run {run.id}"):
        run.download_files(prefix="outputs/", output_directory=str(folder), append_prefix=True)
    files = [path for path in folder.rglob("*") if path.is_file()]
    say(f"{len(files)} files of run {run.id} are in {folder}")


def _fetch(address: str, start: int) -> bytes:
    """Read a log from byte `start` on; nothing where there is nothing new, or no log yet."""
    import requests

    answer = requests.get(address, headers={"Range": f"bytes={start}-"} if start else {}, timeout=30)
    if answer.status_code == 206:
        return answer.content
    return answer.content[start:] if answer.ok else b""


def _first_process(files: dict[str, str]) -> str | None:
    """The log of rank 0: `user_logs/std_log.txt`, or `std_log_process_00.txt` of a distributed job."""
    logs = sorted(name for name in files if name.startswith("user_logs/std_log") and not name.endswith("err.txt"))
    if logs:
        return logs[0]
    return next(iter(sorted(name for name in files if "driver_log" in name)), None)
