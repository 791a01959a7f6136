"""Lines of a record: JSON behind its checksum, so that a damaged byte costs the entry that it is in, and no other."""

import json
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

FORMAT = "lightning-cifar metrics 2"
_OLD_FORMAT = "lightning-cifar metrics 1"  # without checksums
_OLD_START = json.dumps({"format": _OLD_FORMAT})[:-1].encode()
_CHECKSUM = re.compile(rb"[0-9a-f]{8} (?=\{)")


def seal(text: str) -> str:
    """Return JSON as a line behind its checksum."""
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def entry_line(entry: dict[str, Any]) -> str:
    """Return an entry as one line; values that JSON does not know become strings."""
    return seal(json.dumps(entry, default=str))


def read_lines(file: IO[bytes], offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what each whole line from byte `offset` on holds, with the offset of its end; leave a torn last line.

    A damaged line has the key `damaged`, which says where; and, where only the end of the line before it is lost, its
    entry as well.
    """
    file.seek(0)
    has_checksums = file.read(len(_OLD_START)) != _OLD_START
    offset = line_start(file, offset)
    file.seek(offset)
    for line in file:
        if not line.endswith(b"\n"):
            return
        entry = unseal(line) if has_checksums else _parse(line)
        if entry is None or "damaged" in entry:
            entry = (entry or {}) | {"damaged": f"byte {offset}"}
        offset += len(line)
        yield entry, offset


def unseal(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line; None: none is whole. It has the key `damaged` if something stands before it."""
    for found in _CHECKSUM.finditer(line):
        text = line[found.end() :].removesuffix(b"\n")
        if zlib.crc32(text) == int(found[0], 16) and (entry := _parse(text)) is not None:
            return entry | {"damaged": ""} if found.start() else entry
    return None


def line_start(file: IO[bytes], offset: int) -> int:
    """Return where the line before byte `offset` ends: there, unless bytes before it have been lost or doubled."""
    while offset > 0:
        begin = max(0, offset - 4096)
        file.seek(begin)
        if newline := file.read(offset - begin).rfind(b"\n") + 1:
            return begin + newline
        offset = begin
    return 0


def is_header(entry: dict[str, Any]) -> bool:
    """Return whether a line is a copy of the header, of this or of an older version."""
    return entry.get("format") in (FORMAT, _OLD_FORMAT)


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
