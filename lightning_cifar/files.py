"""Write files atomically; recognize hidden ones; locate the user's cache; find the newest version of a file."""

import contextlib
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
    it holds what it held before. Its folder is made where it is missing. Once the block has ended, power loss takes
    neither the file nor its name.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that power loss takes none of them."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder: only then do names that were made or replaced in it survive power loss."""
    with contextlib.suppress(OSError):  # Windows opens no folder, and some network shares sync none
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


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
