"""The outbox: what was logged, on disk and in order, and how much of it the service has confirmed.

A record is a file of lines, each JSON behind its checksum (see `lines`). The first names the run and the backend, and
is repeated whenever the file has doubled, so that no damage hides whose the others are; each other is one entry: a
metric, a table, an image, the run's end. The training process only appends, one `write(2)` for all metrics of a call,
so an entry survives SIGKILL of that process as soon as `Outbox.append` returns; a thread of it syncs the file to disk
four times a second, so that it survives power loss, too. Beside it lies `<record>.sent`, replaced as a whole after each
confirmation. Because entries are sent in the order of the file, one byte offset says what is confirmed.
"""

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

from lightning_cifar.azure.lines import FORMAT, entry_line, is_header, line_start, read_lines, seal, unseal
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write, make_folder, sync_folder

SYNC_SECONDS = 0.25
"""What was logged longer ago than this, and the time that the disk takes, survives power loss."""
MAX_BYTES = 2_000_000_000
# Reasons for dropping an entry.
REFUSED = "refused by the service"
NO_ROOM = "no room for another name in the run"
MISSING = "its file is gone: sent before, or deleted"
DAMAGED = "damaged on the disk"
SAID_AT_END = {REFUSED, NO_ROOM, MISSING, DAMAGED}  # of the others a person was told when they were recorded

LOCK = threading.RLock()
"""Held while something is recorded: any thread may log. A fork waits for it, so that the child finds it free."""
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=LOCK.acquire, after_in_child=LOCK.release, after_in_parent=LOCK.release)


class Outbox:
    """Appends entries to a new file at `path`; the file and its folder are made at the first entry.

    With `durable` each call's entries are synced before it returns. So many as `max_bytes` may wait for the service.
    """

    def __init__(
        self, path: Path, address: RunAddress, backend: str, durable: bool = False, max_bytes: int = MAX_BYTES
    ) -> None:
        self.path = path
        self.size = 0
        self._header = entry_line({"format": FORMAT, "backend": backend, "run": asdict(address)})
        self._durable, self._max_bytes = durable, max_bytes
        self._next_header = self._synced = self._settled = 0
        self._file: IO[bytes] | None = None
        self._closed = threading.Event()

    def append(self, lines: str) -> None:
        """Write whole lines, by one call of the operating system.

        Raises:
            OSError: the disk is full, for instance, or `max_bytes` wait; the file then ends with the last whole entry.
        """
        header = self._header * (1 if self.size else 2) if self.size >= self._next_header else ""
        data = (header + lines).encode()
        self._check_room(len(data))
        file = self._file or self._open()
        try:
            written, error = file.write(data), None
        except OSError as failed:
            written, error = 0, failed.errno
        if written != len(data):
            os.ftruncate(file.fileno(), self.size)
            file.seek(self.size)  # else the next entry would lie behind a gap of zero bytes
            raise OSError(error or errno.ENOSPC, f"no space for {len(data)} bytes", str(self.path))
        self.size += len(data)
        if header:
            self._next_header = max(1024, 2 * self.size)
        if self._durable:
            self.sync()

    def sync(self) -> None:
        """Sync what was appended, and the file's name, to the disk: only that survives power loss."""
        size = self.size
        if self._file is not None and size != self._synced:
            os.fsync(self._file.fileno())
            if self._synced == 0:
                sync_folder(self.path.parent)
            self._synced = size

    def close(self) -> None:
        """Close the file; nothing can be appended any more."""
        self._closed.set()
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        make_folder(self.path.parent)
        self._file = self.path.open("xb", buffering=0)
        if not self._durable:
            with contextlib.suppress(RuntimeError):  # no room for another thread, or the interpreter is about to end
                threading.Thread(target=self._sync_often, daemon=True).start()
        return self._file

    def _sync_often(self) -> None:
        while not self._closed.wait(SYNC_SECONDS):
            with contextlib.suppress(OSError, ValueError):  # ValueError: closed just now
                self.sync()

    def _check_room(self, length: int) -> None:
        if self.size + length > self._settled + self._max_bytes:
            self._settled = Progress.read(self.path).offset
            if self.size + length > self._settled + self._max_bytes:
                waiting = f"{self.size - self._settled:,} bytes wait to be sent, and max_bytes is {self._max_bytes:,}"
                raise OSError(errno.EDQUOT, waiting, str(self.path))


def sync(record: Path) -> None:
    """Sync a record to the disk: only what is synced survives power loss."""
    with record.open("rb") as file:
        os.fsync(file.fileno())


def sent_file(record: Path) -> Path:
    """Return the path of a record's confirmations."""
    return record.with_name(record.name + ".sent")


def files_folder(record: Path) -> Path:
    """Return the folder of the images and files that a record's entries refer to, until they are sent."""
    return record.with_name(record.stem + "-files")


@dataclass
class Progress:
    """How far the service has confirmed a record.

    Args:
        offset: bytes that are settled: sent and confirmed, or dropped.
        dropped: number of entries that the service has not got and will not get, by reason.
        examples: for each such reason the latest entry, or what the service said to it.
        error: why the last attempt failed; None after a success.
        ended: the status that the run was given.
        in_flight: when (`time.monotonic()`) entries were handed over whose answer is outstanding.
    """

    offset: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    ended: str | None = None
    in_flight: float | None = None

    @classmethod
    def read(cls, record: Path) -> "Progress":
        """Read a record's confirmations; where none can be read, nothing is: the service knows what has arrived."""
        try:
            content = sent_file(record).read_bytes()
            # An older version's has no checksum. A damaged offset must not pass for a confirmation.
            state = json.loads(content) if content.startswith(b"{") else unseal(content) or {}
            found = cls(**{each.name: state[each.name] for each in fields(cls) if each.name in state})
            return found if found._is_sound() else cls()
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return cls()

    def _is_sound(self) -> bool:
        """Return whether the values are of their types: the file may be damaged, or somebody else's."""
        numbers, texts = (self.offset, *self.dropped.values()), (self.error, self.ended, *self.examples.values())
        return (
            all(isinstance(number, int) and 0 <= number <= sys.maxsize for number in numbers)
            and all(isinstance(text, str | None) for text in texts)
            and isinstance(self.in_flight, float | None)
            and self.dropped.keys() <= self.examples.keys()
        )

    @classmethod
    def note_error(cls, record: Path, error: str) -> None:
        """Write why an attempt has failed, where the disk has room; nothing of it is outstanding any more."""
        progress = cls.read(record)
        progress.error, progress.in_flight = error, None
        with contextlib.suppress(OSError):
            progress.write(record)

    def drop(self, reason: str, example: str, number: int = 1) -> None:
        """Count entries that will not be sent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + number
        self.examples[reason] = example

    def write(self, record: Path) -> None:
        """Replace a record's confirmations as a whole."""
        with atomic_write(sent_file(record)) as file:
            file.write(seal(json.dumps(asdict(self))).encode())


class Header(NamedTuple):
    """What a record says of itself: the run, and the backend that sends to it."""

    address: RunAddress
    backend: str


def read_header(record: Path) -> Header:
    """Return the first copy of a record's header that is whole; one that names no backend was written for SDK v1.

    Raises:
        UserError: the file is missing, or none of AzureMLLogger's.
    """
    try:
        with record.open("rb") as file:
            header = next((entry for entry, _ in read_lines(file) if is_header(entry)), None)
        if header is None:
            raise ValueError("no line says whose it is")
        return Header(RunAddress(**header["run"]), str(header.get("backend", "v1")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{record} is not a file of AzureMLLogger's ({error}): name the .jsonl file that its warning named"
        ) from error


def read_entries(record: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what each whole line of a record holds from byte `offset` on, with the offset of its end: see `lines`."""
    with record.open("rb") as file:
        yield from read_lines(file, offset)


def whole_size(record: Path) -> int:
    """Return how many bytes of a record are whole lines; the last one may have been cut off as it was written."""
    with record.open("rb") as file:
        return line_start(file, record.stat().st_size)


def pending(record: Path) -> int:
    """Count the entries, the run's end among them, that are neither confirmed nor dropped; of millions in seconds."""
    with record.open("rb") as file:
        file.seek(line_start(file, Progress.read(record).offset))
        no_entry = b'"skip": ', b'{"format": '
        return sum(line.endswith(b"\n") and not any(mark in line for mark in no_entry) for line in file)
