"""One attempt at sending a record, in a process that a failure ends: see `relay`."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from lightning_cifar.azure import backends, outbox
from lightning_cifar.azure.backends import Backend, Point, limits, not_importable
from lightning_cifar.azure.foreign import NO_ENTRY, is_entry, own_file
from lightning_cifar.azure.outbox import Header, Progress
from lightning_cifar.azure.process import HOPELESS
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.service_errors import http_status, one_line, retry_after
from lightning_cifar.azure.sharing import TOKEN_VARIABLES, seconds_since, share_token
from lightning_cifar.azure.steps import Steps
from lightning_cifar.errors import UserError

FAILED = 1
"""Exit code, besides 0 and HOPELESS: try again later."""
GATHER_SECONDS = 2.5
"""One flush costs two requests at least; entries of this time share one. A metric is live within 5 s all the same."""
MAX_ENTRIES = 10_000
"""SDK v1 looks only every 0.25 s whether a flush is done: a backlog goes in large ones, 3 KB of memory an entry."""
IN_FLIGHT_SECONDS = 30.0
"""So long the service may take to store what was handed over to it by a process that was then killed."""
_ALONE = {"image", "confusion_matrix", "tags", "file", "end"}  # kinds of entries that are sent one at a time
_PR_SET_PDEATHSIG = 1


MakeBackend = Callable[[RunAddress, Callable[[], None]], Backend]


class Flags(ctypes.Structure):
    """What a relay and its attempt share, in memory that both see."""

    _fields_ = (
        ("closing", ctypes.c_bool),  # nothing more will be logged
        ("hurry", ctypes.c_bool),  # somebody waits
        ("answered", ctypes.c_bool),  # something was confirmed or refused
        ("step_began", ctypes.c_double),  # time.monotonic() of the request at work; 0: none
        ("entries", ctypes.c_int),  # the most to send at a time: fewer after a refusal
        ("retry_after", ctypes.c_double),  # seconds to wait after a failure, as the service has asked
    )


class Attempt:
    """Sends until nothing more will be logged and nothing is left, until the first failure, or until `relay` ends.

    `news` is readable as soon as one of the flags `closing` and `hurry` is set.
    """

    def __init__(
        self, record: Path, header: Header, make_backend: MakeBackend, flags: Flags, news: Connection, relay: int
    ) -> None:
        self._record, self._address, self._flags, self._news, self._relay = record, header.address, flags, news, relay
        self._files = outbox.files_folder(record)
        self._make_backend = make_backend
        self._backend: Backend | None = None
        self._steps: dict[str, Steps] = {}
        self._max_names = limits(header.backend).names
        self._tokens = {os.environ.get(name) for name in TOKEN_VARIABLES}
        self._progress = Progress.read(record)

    def run(self) -> NoReturn:
        """Send; leave by `os._exit`, because the SDK's threads would hold up an orderly exit."""
        code = FAILED
        try:
            if sys.platform == "linux":  # a call into the SDK may never return: it ends with the relay
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            self._send_all()
            code = 0
        except Exception as error:
            self._flags.retry_after = retry_after(error)
            if isinstance(error, ImportError):
                error = not_importable(error)
            code, line = (HOPELESS, str(error)) if isinstance(error, UserError) else (FAILED, one_line(error))
            Progress.note_error(self._record, line)
            with contextlib.suppress(OSError):  # the disk is full
                print(f"{time.strftime('%F %T')} {line}", file=sys.stderr, flush=True)
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(code)

    def _send_all(self) -> None:
        while os.getppid() == self._relay:
            closing, self._flags.hurry = bool(self._flags.closing), False  # who waits for more than this, says so again
            if found := self._next_entries():
                is_backlog = len(found) >= self._flags.entries
                self._send(found)
                if is_backlog:
                    continue
            elif closing:
                if must_end_run(self._record, self._address, self._progress):
                    end = {"end": "Failed", "reason": "the training process ended without a word"}
                    self._send([(end, self._progress.offset)])
                return
            else:
                self._share_token()
            if not (self._flags.closing or self._flags.hurry):
                self._gather()

    def _gather(self) -> None:
        """Wait for more entries, unless the relay has news."""
        if self._news.poll(GATHER_SECONDS):
            os.read(self._news.fileno(), 4096)

    def _next_entries(self) -> list[tuple[dict[str, Any], int]]:
        """Return the next entries, each with the offset of its end: metrics and tables, or one of any other kind."""
        found: list[tuple[dict[str, Any], int]] = []
        for entry, offset in outbox.read_entries(self._record, self._progress.offset):
            alone = not _ALONE.isdisjoint(entry)
            if not (alone and found):
                found.append((entry, offset))
            if alone or len(found) >= self._flags.entries:
                break
        return found

    def _send(self, found: list[tuple[dict[str, Any], int]]) -> None:
        entries, offset = [entry for entry, _ in found], found[-1][1]
        self._touch()
        backend = self._open()
        outbox.sync(self._record)  # what the service has is on the disk, too
        self._progress.in_flight = time.monotonic()
        self._progress.write(self._record)
        try:
            self._hand_over(backend, entries)
        except Exception as error:
            if _refused(error):
                # One entry that the service refuses for good must not hold up the others: it is sent alone.
                self._flags.entries, self._flags.answered = max(1, len(entries) // 8), True
                if len(entries) == 1:
                    self._progress.drop(outbox.REFUSED, f"{json.dumps(entries[0])[:100]}: {one_line(error)}")
                    self._confirm(offset)
            raise
        self._confirm(offset)
        self._flags.answered = True
        self._flags.entries = min(MAX_ENTRIES, self._flags.entries * 8)
        self._flags.step_began = 0.0
        self._share_token()
        for entry in entries:
            if "path" in entry and is_entry(entry) and (file := own_file(self._record, entry["path"])):
                file.unlink()

    def _hand_over(self, backend: Backend, entries: list[dict[str, Any]]) -> None:
        points, refused = [], []
        for entry in entries:
            if "damaged" in entry:
                self._progress.drop(outbox.DAMAGED, entry["damaged"])
            if entry.keys() == {"damaged"} or outbox.is_header(entry):
                continue
            if not is_entry(entry):
                self._progress.drop(NO_ENTRY, json.dumps(entry)[:100])
                continue
            kinds = ("metric", "table", "image", "confusion_matrix")
            name = next((str(entry[kind]) for kind in kinds if kind in entry), "")
            has_room = not name or name in backend.names or len(backend.names) < self._max_names
            if "skip" in entry or not has_room:  # earlier versions kept what cannot be sent, with the reason
                self._progress.drop(entry.get("skip", outbox.NO_ROOM), name)
                continue
            if name:
                backend.names.add(name)
            if "metric" in entry:
                if name not in self._steps:
                    self._steps[name] = Steps(backend.points(name))
                if self._steps[name].add(entry["step"]):
                    points.append(Point(name, entry["step"], entry["value"], entry["time"]))
            elif "table" in entry:
                refused += backend.table(name, entry["columns"], entry["rows"])
            elif "confusion_matrix" in entry:
                backend.confusion_matrix(name, entry["value"])
            elif "tags" in entry:
                backend.tags(entry["tags"])
            elif "end" in entry:
                backend.end(entry["end"], entry.get("reason"))
                self._progress.ended = entry["end"]
            elif own_file(self._record, entry["path"]) is None:
                self._progress.drop(outbox.MISSING, entry["path"])
            elif "image" in entry:
                backend.image(name, entry["path"], self._files)
            else:
                backend.upload(entry["file"], self._files / entry["path"])
        if points:
            refused += backend.log(points)
        if refused:
            self._progress.drop(outbox.REFUSED, refused[-1], len(refused))

    def _open(self) -> Backend:
        if self._backend is None:
            if self._progress.in_flight is not None:
                # A process that was killed before the answer has handed it over: it may be stored only now.
                self._flags.step_began = 0.0
                time.sleep(max(0.0, IN_FLIGHT_SECONDS - seconds_since(self._progress.in_flight)))
                self._touch()
            try:
                self._backend = self._make_backend(self._address, self._touch)
            except Exception as error:
                if http_status(error) != 404:
                    raise
                place = self._address.workspace or self._address.tracking_uri
                raise UserError(
                    f"run {self._address.run_id} is not in workspace {place!r}: check that the file is this workspace's"
                ) from error
            self._touch()
        return self._backend

    def _confirm(self, offset: int) -> None:
        self._progress.offset, self._progress.error, self._progress.in_flight = offset, None, None
        self._progress.write(self._record)

    def _share_token(self) -> None:
        token = None if self._backend is None else self._backend.token
        if token and token not in self._tokens:
            self._tokens.add(token)
            share_token(self._address, token)

    def _touch(self) -> None:
        """Note that the service has answered: the time limit is for one request."""
        self._flags.step_began = time.monotonic()


def run_attempt(record: Path, header: Header, flags: Flags, news: Connection, relay: int) -> NoReturn:
    """Make and run an attempt, in a process of its own; where that is forked, the backend's SDK is imported already."""

    def make_backend(address: RunAddress, touch: Callable[[], None]) -> Backend:
        return backends.load(header.backend, address.tracking_uri)(address, touch)

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what the training process writes there is for the relay
    Attempt(record, header, make_backend, flags, news, relay).run()


def must_end_run(record: Path, address: RunAddress, progress: Progress) -> bool:
    """Return whether an interactive run is still to be ended: by the relay of its metrics, not of its files."""
    return address.ended_here and not progress.ended and not record.stem.endswith("-media")


def _refused(error: BaseException) -> bool:
    """Return whether the service refused what was sent, so that sending it again as it is is no use."""
    status = http_status(error)
    return status is not None and 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 429)
