"""Fetch one large file from the first of several mirrors that delivers it.

All mirrors serve the same bytes, so what one of them sent before it failed is kept and the next goes on from there.
No library has all of resuming, mirrors, a stall limit and the check of the MD5: pooch, torchvision and pypdl each lack
one or more.
"""

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from torchvision.datasets.utils import check_integrity

from lightning_cifar.data.progress import bar, say
from lightning_cifar.errors import UserError

_ATTEMPTS = 5  # per mirror, each only if the one before made a difference
_LEAST_RATE = 1000  # bytes/s; a host that sends less has stalled


class _MirrorError(Exception):
    """A mirror did not deliver; its text is how."""


def download(mirrors: Sequence[str], target: Path, md5: str, size: int, *, timeout: float = 10.0) -> None:
    """Fetch a file; it bears its final name only once its MD5 sum is right.

    An unfinished download stays as `<name>.part` and is continued, by this call or the next.

    Args:
        mirrors: http(s) addresses of the same file, tried in order.
        target: where it goes.
        md5: its MD5 sum.
        size: its size in bytes; a mirror that offers another is not asked for more.
        timeout: seconds without a connection, or without data, after which a mirror is given up.

    Raises:
        UserError: no mirror delivered, with how each failed; or the file cannot be written.
    """
    part = target.with_name(target.name + ".part")
    failures: dict[str, str] = {}
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        for url in mirrors:
            for _ in range(_ATTEMPTS):
                before = _size(part)
                say(f"Downloading {target.name} ({size / 1e6:,.1f} MB) from {_host(url)} ...")
                try:
                    _fetch(url, part, size, timeout)
                    if check_integrity(part, md5):
                        part.replace(target)
                        return
                    part.unlink()
                    raise _MirrorError("sent other bytes than the archive's (wrong MD5)")
                except _MirrorError as error:
                    failures[_host(url)] = str(error)
                    say(f"{url}: {error}")
                    if _size(part) == before:  # otherwise it got further, or a part from another day was wrong
                        break
    except OSError as error:
        raise UserError(
            f"cannot write {part} ({error.strerror or error}): make room or choose another --data.data_dir; "
            "what has arrived is kept and continued"
        ) from error
    how = "; ".join(f"{host}: {failure}" for host, failure in failures.items())
    raise UserError(
        f"cannot download {target.name} ({how or 'no mirrors given'}): name other addresses with --data.mirrors, "
        f"put the archive into {target.parent}, or train on your own images with --data.source FOLDER"
    )


def _fetch(url: str, part: Path, size: int, timeout: float) -> None:
    """Bring the part-file to its full size, or raise `_MirrorError`, or OSError where it cannot be written."""
    have = _size(part)
    if have == size:
        return
    response, have = _open(url, have if have < size else 0, size, timeout)
    columns = (TextColumn(_host(url)), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with response, part.open("ab" if have else "wb") as file, bar(*columns) as shown:
        task = shown.add_task("", total=size, completed=have)
        mark, mark_have = time.monotonic(), have
        while have < size:
            try:
                chunk = response.read1(min(size - have, 1 << 16))
            except (OSError, http.client.HTTPException) as error:
                raise _MirrorError(_reason(error, timeout)) from error
            if not chunk:
                raise _MirrorError(f"dropped the connection after {have:,} of {size:,} bytes")
            file.write(chunk)
            have += len(chunk)
            shown.advance(task, len(chunk))
            seconds = time.monotonic() - mark
            if seconds > timeout:
                if have - mark_have < _LEAST_RATE * seconds:
                    raise _MirrorError(f"stalled after {have:,} of {size:,} bytes")
                mark, mark_have = time.monotonic(), have
        file.flush()
        os.fsync(file.fileno())


def _open(url: str, start: int, size: int, timeout: float) -> tuple[Any, int]:
    """Ask for a file from some byte on; return the response and the byte it starts at: 0 without support of ranges."""
    headers = {"User-Agent": "lightning-cifar", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no address at all
        raise _MirrorError(_reason(error, timeout)) from error
    is_rest = response.status == HTTPStatus.PARTIAL_CONTENT
    total = response.headers.get("Content-Range" if is_rest else "Content-Length", "").rpartition("/")[2]
    if total.isdigit() and int(total) != size:
        response.close()
        raise _MirrorError(f"offers {int(total):,} bytes where the archive has {size:,}")
    return response, start if is_rest else 0


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _reason(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"silent for {timeout:g} seconds"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
