"""Fetch one large file from the first of several mirrors that delivers it.

All mirrors serve the same bytes, so what one of them sent before it failed is kept and the next goes on from
there.
"""

import http.client
import os
import queue
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from torchvision.datasets.utils import check_integrity

from lightning_cifar.data.console import console, say
from lightning_cifar.errors import UserError

REMEDIES = (
    "name other addresses with --data.mirrors, put the archive into {folder}, or train on your own "
    "images with --data.source FOLDER"
)
_ATTEMPTS = 5  # per mirror, each only if the one before got further
_LEAST_RATE = 1000  # bytes/s; a host that sends less has stalled
_REPORT_SECONDS = 30.0


class _MirrorError(Exception):
    """A mirror did not deliver; its text is how."""


class _WrongBytesError(_MirrorError):
    """What arrived is not the file."""


def download(
    mirrors: Sequence[str],
    target: Path,
    md5: str,
    size: int,
    *,
    timeout: float = 20.0,
    slow_rate: float = 200e3,
    slow_after: float = 10.0,
) -> None:
    """Fetch a file; it bears its final name only once its MD5 sum is right.

    An unfinished download stays as `<name>.part` and is continued, by this call or the next.

    Args:
        mirrors: http(s) addresses of the same file, tried in order.
        target: where it goes.
        md5: its MD5 sum.
        size: its size in bytes; a mirror that offers another is not asked for more.
        timeout: seconds without a connection, or without data, after which a mirror is given up.
        slow_rate: bytes/s below which the remedies against a slow host are named, once.
        slow_after: seconds of download before that is judged.

    Raises:
        UserError: no mirror delivered, with how each failed; or the file cannot be written.
    """
    part = target.with_name(target.name + ".part")
    transfer = _Transfer(part, size, timeout, slow_rate, slow_after)
    failures: dict[str, str] = {}
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with transfer.progress:
            for url in mirrors:
                for _ in range(_ATTEMPTS):
                    before = _size(part)
                    try:
                        transfer.fetch(url)
                        _verify(part, md5)
                    except _MirrorError as error:
                        failures[url] = str(error)
                        say(f"{url}: {error}")
                        # A part from another day may be to blame for wrong bytes: once more, from the
                        # beginning.
                        again = before > 0 if isinstance(error, _WrongBytesError) else _size(part) > before
                        if not again:
                            break
                    else:
                        part.replace(target)
                        return
    except OSError as error:
        raise UserError(
            f"cannot write {part} ({error.strerror or error}): make room or choose another --data.data_dir; "
            "what has arrived is kept and continued"
        ) from error
    how = "; ".join(f"{_host(url)}: {failure}" for url, failure in failures.items())
    remedies = REMEDIES.format(folder=target.parent)
    raise UserError(f"cannot download {target.name} ({how or 'no mirrors given'}): {remedies}")


def any_answers(mirrors: Sequence[str], size: int, seconds: float) -> bool:
    """Tell whether any mirror offers a file of this size within some seconds, all being asked at once.

    Says of those that do not what is wrong with them.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            response, _ = _open(url, slice(0, 1), size, seconds)
            response.close()
        except _MirrorError as error:
            answers.put(f"{url}: {error}")
        else:
            answers.put(None)

    for url in mirrors:
        # Not an executor: looking up a host's name cannot be interrupted, and must not keep the program from
        # ending.
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    deadline = time.monotonic() + seconds
    for _ in mirrors:
        try:
            failure = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            say(f"no answer within {seconds:g} seconds from {', '.join(map(_host, mirrors))}")
            return False
        if failure is None:
            return True
        say(failure)
    return False


class _Transfer:
    """The part-file and what is shown of its growth, whichever mirror it comes from."""

    def __init__(self, part: Path, size: int, timeout: float, slow_rate: float, slow_after: float) -> None:
        self.part, self.size, self.timeout = part, size, timeout
        self.slow_rate, self.slow_after = slow_rate, slow_after
        self.warned = False
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("", total=size, start=False)

    def fetch(self, url: str) -> None:
        """Bring the part-file to its full size.

        Raises:
            _MirrorError: the mirror refused, stalled, dropped the connection or offers another file.
            OSError: the part-file cannot be written.
        """
        have = _size(self.part)
        if have == self.size:
            return
        if have > self.size:
            have = 0
        response, start = _open(url, slice(have, None), self.size, self.timeout)
        with response, self.part.open("r+b" if start else "wb", buffering=0) as file:
            file.seek(start)
            file.truncate()
            host = _host(url)
            self.progress.reset(self.task, description=host, completed=start)
            self._copy(response, file, start, host)

    def _copy(self, response: Any, file: IO[bytes], start: int, host: str) -> None:
        have, begun = start, time.monotonic()
        mark, mark_have, reported = begun, have, begun
        while have < self.size:
            chunk = _receive(response, self.size - have, self.timeout)
            if not chunk:
                raise _MirrorError(f"dropped the connection after {have:,} of {self.size:,} bytes")
            _write(file, chunk)
            have += len(chunk)
            now = time.monotonic()
            self.progress.update(self.task, completed=have)
            if now - mark > self.timeout:
                if have - mark_have < _LEAST_RATE * (now - mark):
                    raise _MirrorError(f"stalled after {have:,} of {self.size:,} bytes")
                mark, mark_have = now, have
            rate = (have - start) / max(now - begun, 1e-9)
            if not self.warned and now - begun > self.slow_after and rate < self.slow_rate:
                self.warned = True
                minutes = (self.size - have) / rate / 60
                remedies = REMEDIES.format(folder=self.part.parent)
                say(
                    f"{host} is slow, {rate / 1000:.0f} kB/s: {minutes:.0f} more minutes. You can as well "
                    f"{remedies}; what has arrived is kept."
                )
            if not console.is_terminal and now - reported > _REPORT_SECONDS:
                reported = now
                left = (self.size - have) / rate / 60
                say(f"{host}: {have / self.size:.0%}, {rate / 1000:.0f} kB/s, {left:.0f} min left")
        os.fsync(file.fileno())


def _open(url: str, span: slice, size: int, timeout: float) -> tuple[Any, int]:
    """Ask for a file from some byte on.

    Returns:
        The response, and the byte it starts at: 0 where the server ignores ranges or has nothing from there
        on.

    Raises:
        _MirrorError: no answer, another answer than the file, or a file of another size.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise _MirrorError("not an http:// or https:// address")
    headers = {"User-Agent": "lightning-cifar", "Accept-Encoding": "identity"}
    if span.start or span.stop:
        headers["Range"] = f"bytes={span.start}-{span.stop - 1 if span.stop else ''}"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and span.start:
            return _open(url, slice(0, None), size, timeout)
        raise _MirrorError(f"answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _MirrorError(_reason(error, timeout)) from error
    start, total = 0, response.headers.get("Content-Length")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if found.partition("-")[0] != str(span.start):
            response.close()
            raise _MirrorError(f"sends bytes {found or 'unknown'} when asked for those from {span.start} on")
        start = span.start
    if total is not None and total.isdigit() and int(total) != size:
        response.close()
        raise _MirrorError(f"offers {int(total):,} bytes where the archive has {size:,}")
    return response, start


def _receive(response: Any, limit: int, timeout: float) -> bytes:
    """The bytes that have arrived, at most `limit`; none where the mirror has closed the connection."""
    try:
        return response.read1(min(limit, 1 << 16))
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(_reason(error, timeout)) from error


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:  # no address at all, as its failure will say
        return url


def _reason(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"silent for {timeout:g} seconds"
    if isinstance(cause, ssl.SSLError):
        return f"no secure connection ({cause.reason or cause})"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause) or type(cause).__name__
    return str(cause) or type(cause).__name__


def _write(file: IO[bytes], chunk: bytes) -> None:
    """Write all of it: an unbuffered file takes what fits and tells of a full disk with the rest."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _verify(part: Path, md5: str) -> None:
    if not check_integrity(part, md5):
        part.unlink()
        raise _WrongBytesError("sent other bytes than the archive's (wrong MD5)")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
