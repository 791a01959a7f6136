"""Files: written whole or not at all, hidden, cached for the user, and the newest of several runs'."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO

TEMPORARY = ".unfinished-"
"""Prefix of the names under which files are written before they are whole."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an exception.

    The content is synced to the disk before the rename, so `path` never holds a half-written file; after an exception
    it holds what it held before. Its folder is made where it is missing.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_hidden(name: str) -> bool:
    """Return whether a file is none of the user's images by its name: hidden, or left behind by Windows."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini")


def user_cache_folder(data: Path) -> Path:
    """Return the folder in the user's cache for data whose own folder cannot be written to."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = data.expanduser().absolute()
    return base / "lightning-cifar" / f"{place.name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"


def newest(paths: Iterable[PurePath]) -> PurePath | None:
    """Return the path in the highest `version_N` folder, of several there the one changed last; None of none.

    By number: `version_10` is newer than `version_9`. Paths without such a folder come first; names that are no files
    of this machine, a run's artifacts say, are told apart by name.
    """

    def age(path: PurePath) -> tuple[int, int, str]:
        *_, version = "-1", *re.findall(r"(?:^|/)version_(\d+)(?=/|$)", path.as_posix())
        return int(version), path.stat().st_mtime_ns if isinstance(path, Path) else 0, str(path)

    return max(paths, key=age, default=None)
