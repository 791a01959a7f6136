"""The outbox: what was logged, on disk and in order, and how much of it the service has confirmed.

A record is a file of JSON lines. The first names the run and the backend; each other is one entry: a metric, a table,
an image, the run's end. The training process only appends, one `write(2)` for all metrics of a call, so an entry
survives SIGKILL of that process as soon as `Outbox.append` returns; the relay syncs the file to disk about once a
second, so the training process needs no thread for it. Beside it lies `<record>.sent`, replaced as a whole after each
confirmation. Because entries are sent in the order of the file, one byte offset says what is confirmed.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write

FORMAT = "lightning-cifar metrics 1"
# Reasons for dropping an entry.
REFUSED = "refused by the service"
NO_ROOM = "no room for another name in the run"
MISSING = "its file is gone: sent before, or deleted"


class Outbox:
    """Appends entries to a new file at `path`; the file and its folder are made at the first entry."""

    def __init__(self, path: Path, address: RunAddress, backend: str) -> None:
        self.path = path
        self.size = 0
        self._header = entry_line({"format": FORMAT, "backend": backend, "run": asdict(address)})
        self._file: IO[bytes] | None = None

    def append(self, lines: str) -> None:
        """Write whole lines, by one call of the operating system.

        Raises:
            OSError: the disk is full, for instance; the file then ends with the last whole entry.
        """
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        data = (lines if self.size else self._header + lines).encode()
        try:
            written = self._file.write(data)
        except OSError:
            written = 0
        if written != len(data):
            os.ftruncate(self._file.fileno(), self.size)
            self._file.seek(self.size)  # else the next entry would lie behind a gap of zero bytes
            raise OSError(f"{self.path}: no space for {len(data)} bytes")
        self.size += len(data)

    def close(self) -> None:
        """Close the file; nothing can be appended any more."""
        if self._file is not None:
            self._file.close()


def entry_line(entry: dict[str, Any]) -> str:
    """Return an entry as one line; values that JSON does not know become strings."""
    return json.dumps(entry, default=str) + "\n"


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
        in_flight: when (`time.time()`) entries were handed over whose answer is outstanding.
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
            state = json.loads(sent_file(record).read_bytes())
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
        """Write why an attempt has failed; nothing that it handed over is outstanding any more."""
        progress = cls.read(record)
        progress.error, progress.in_flight = error, None
        progress.write(record)

    def drop(self, reason: str, example: str, number: int = 1) -> None:
        """Count entries that will not be sent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + number
        self.examples[reason] = example

    def write(self, record: Path) -> None:
        """Replace a record's confirmations as a whole."""
        with atomic_write(sent_file(record)) as file:
            file.write(json.dumps(asdict(self)).encode())


class Header(NamedTuple):
    """The first line of a record: the run, the backend that sends to it, and the offset of the first entry."""

    address: RunAddress
    backend: str
    start: int


def read_header(record: Path) -> Header:
    """Read the first line of a record; one that names no backend was written for SDK v1.

    Raises:
        UserError: the file is missing, or none of AzureMLLogger's.
    """
    try:
        with record.open("rb") as file:
            line = file.readline()
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        return Header(RunAddress(**header["run"]), str(header.get("backend", "v1")), len(line))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{record} is not a file of AzureMLLogger's ({error}): name the .jsonl file that its warning named"
        ) from error


def read_entries(record: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each whole entry from byte `offset` on, with the offset of its end; leave a torn last line.

    Raises:
        UserError: a line that is no entry.
    """
    with record.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise ValueError("no JSON object")
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{record} is damaged before byte {offset} ({error}): remove that line to send the others"
                ) from error
            yield entry, offset


def pending(record: Path) -> int:
    """Count the entries, the run's end among them, that are neither confirmed nor dropped."""
    offset = max(Progress.read(record).offset, read_header(record).start)
    return sum("skip" not in entry for entry, _ in read_entries(record, offset))
