"""The record on disk: what was logged, in order, and how much of it the service has confirmed.

A spool is a file of JSON lines. The first names the run; each other is one entry: a metric, a table, an
image, the run's end. The training process only appends, one `write(2)` for all metrics of a call, so an entry
survives SIGKILL of that process as soon as `Outbox.append` returns; the forwarder syncs the file to disk about
once a second, so the training process needs no thread for it. Beside it lies `<spool>.sent`, replaced as a
whole after each confirmation. Because entries are sent in the order of the file, one byte offset says what is
confirmed.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError

FORMAT = "lightning-cifar metrics 1"


class Outbox:
    """Appends entries to a new file at `path`; the file and its folder are made at the first entry."""

    def __init__(self, path: Path, address: RunAddress) -> None:
        self.path = path
        self.size = 0
        self._address = address
        self._file: IO[bytes] | None = None

    def append(self, lines: str) -> None:
        """Hand whole lines to the operating system.

        Raises:
            OSError: the disk is full, for instance; the file then ends with the last whole entry.
        """
        if self._file is None:
            self._file = self._create()
        data = lines.encode()
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

    def _create(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("xb", buffering=0)
        header = entry_line({"format": FORMAT, "run": self._address.as_dict()}).encode()
        try:
            if file.write(header) != len(header):
                raise OSError(f"{self.path}: no space for {len(header)} bytes")
        except OSError:
            file.close()
            self.path.unlink()  # the next entry tries anew
            raise
        self.size = len(header)
        return file


def entry_line(entry: dict[str, Any]) -> str:
    """Return an entry as one line; values that JSON does not know become strings."""
    return json.dumps(entry, default=str) + "\n"


def sent_file(spool: Path) -> Path:
    """Return where the spool's confirmations lie."""
    return spool.with_name(spool.name + ".sent")


def files_folder(spool: Path) -> Path:
    """Return the folder of the images and files that the spool's entries refer to, until they are sent."""
    return spool.with_name(spool.stem + "-files")


@dataclass
class Progress:
    """How far the service has confirmed a spool.

    `offset` bytes are settled: `confirmed` entries are at the service, `unsendable` counts, by reason, those
    that the service would not take, `rejected` holds what it said to those it did not take. `error` is the
    reason why the last attempt failed (None after a success), `fatal` whether trying again is pointless,
    `ended` the status the run was given. `refused` counts what `rejected` shows the latest of, `missing` holds
    the files that entries refer to and that are neither on disk nor at the service, `left_out` the names that
    came after those of other processes had taken all the room.
    """

    offset: int = 0
    confirmed: int = 0
    unsendable: dict[str, int] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    error: str | None = None
    fatal: bool = False
    ended: str | None = None
    refused: int = 0
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, spool: Path) -> "Progress":
        """Read the spool's confirmations; nothing is confirmed where there are none."""
        try:
            return cls(**json.loads(sent_file(spool).read_text()))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{sent_file(spool)} cannot be read ({error}): delete it, the service knows what has arrived"
            ) from error

    def write(self, spool: Path) -> None:
        """Replace the spool's confirmations as a whole."""
        target = sent_file(spool)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(asdict(self), file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:  # a full disk would otherwise be filled with these
            Path(name).unlink(missing_ok=True)
            raise


def read_header(spool: Path) -> tuple[RunAddress, int]:
    """Return whose metrics a file holds, and where its first entry begins.

    Raises:
        UserError: the file is missing, or none of AzureMLLogger's.
    """
    try:
        with spool.open("rb") as file:
            line = file.readline()
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        return RunAddress(**header["run"]), len(line)
    except FileNotFoundError:
        raise UserError(f"{spool} does not exist: name the .jsonl file that AzureMLLogger's warning named") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{spool} is not a file of AzureMLLogger's ({error}): name the .jsonl file that its warning named"
        ) from error


def read_entries(spool: Path, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each whole entry from byte `offset` on, with the offset of its end; leave a torn last line.

    Raises:
        UserError: a line that is no entry.
    """
    with spool.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise ValueError("no JSON object")
            except ValueError as error:
                raise UserError(
                    f"{spool} is damaged before byte {offset} ({error}): remove that line to send the others"
                ) from error
            yield entry, offset


def pending(spool: Path) -> int:
    """Count the entries, the run's end among them, that are neither confirmed nor set aside as unsendable."""
    offset = max(Progress.read(spool).offset, read_header(spool)[1])
    return sum("skip" not in entry for entry, _ in read_entries(spool, offset))
