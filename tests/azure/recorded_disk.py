"""A recording layer between a run and the disk, and every disk that loss of power may leave behind.

Recorded is each create, write, fsync, rename and mkdir, in order. What is certain after a loss of power is what was
synced: a file's bytes by fsync of the file, its name by fsync of its folder. Of everything else any part may be there,
and any part not: bytes that are not may read as zeros, or the file ends before them, or in the midst of a write.
"""

import io
import os
from collections.abc import Callable, Iterator
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Event(NamedTuple):
    """One call of the operating system; `seen` is what the caller of `Recorder` wants to know of that moment."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""
    target: str = ""
    seen: Any = None


class Recorder:
    """Records what this process does to files below `folder`; `look` is called after each event."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[], Any]) -> None:
        self.events: list[Event] = []
        self._folder, self._look = str(folder), look
        path_open = Path.open

        def open_(path: Path, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
            if mode != "xb" or not str(path).startswith(self._folder):
                return path_open(path, mode, buffering, *args, **kwargs)
            raw = _File(path, self)
            return raw if buffering == 0 else io.BufferedWriter(raw)

        monkeypatch.setattr(Path, "open", open_)
        for name, kind in {"fsync": "sync", "replace": "rename", "mkdir": "create"}.items():
            monkeypatch.setattr(os, name, self._recording(kind, getattr(os, name)))

    def add(self, kind: str, path: str, **more: Any) -> None:
        if path.startswith(self._folder):
            self.events.append(Event(kind, path, seen=self._look(), **more))

    def _recording(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(what: Any, *args: Any, **kwargs: Any) -> None:
            path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else os.fspath(what)
            call(what, *args, **kwargs)
            self.add(kind, path, target=os.fspath(args[0]) if kind == "rename" else "")

        return recorded


class _File(io.FileIO):
    """A new file whose writes are recorded."""

    def __init__(self, path: Path, recorder: Recorder) -> None:
        super().__init__(path, "xb")
        self.path, self._recorder = str(path), recorder
        recorder.add("create", self.path)

    def write(self, data: Any) -> int:
        offset, written = self.tell(), super().write(data)
        self._recorder.add("write", self.path, offset=offset, data=bytes(data[:written]))
        return written


def disks(events: list[Event], *paths: Path) -> Iterator[tuple[bytes | None, ...]]:
    """Yield what may be in files when power is lost after these events; None: no such file."""
    names = [_names(events, str(path)) for path in paths]
    for found in product(*names):
        contents = [[None] if inode is None else list(_contents(events[inode:], events[inode].path)) for inode in found]
        yield from product(*contents)


def _names(events: list[Event], path: str) -> list[int | None]:
    """Return which files may stand under a name, each by the number of the event that created it."""
    certain: list[int | None] = [None]
    created: dict[str, int] = {}
    for number, event in enumerate(events):
        if event.kind == "create":
            created[event.path] = number
        if path in (event.path if event.kind == "create" else "", event.target):
            certain.append(created[event.path])
        if event.kind == "sync" and event.path == str(Path(path).parent):
            certain = certain[-1:]
    for parent in Path(path).parents:  # a folder whose own name is lost takes all with it
        is_synced = (
            event.kind == "sync" and event.path == str(parent.parent) for event in events[created.get(str(parent), 0) :]
        )
        if str(parent) in created and not any(is_synced):
            certain.append(None)
    return certain


def _contents(events: list[Event], path: str) -> set[bytes]:
    """Return what a file may hold that the first of these events created."""
    writes, synced = [], 0
    for event in events:
        if event.kind == "rename" and event.path == path:
            break  # what comes later under this name is another file
        if event.kind == "write" and event.path == path:
            writes.append(event)
        if event.kind == "sync" and event.path == path:
            synced = len(writes)
    certain, open_ = writes[:synced], writes[synced:]
    assert len(open_) <= 6, "too many to try all of their combinations"
    size = sum(len(event.data) for event in writes)
    found = set()
    for some in chain.from_iterable(combinations(open_, number) for number in range(len(open_) + 1)):
        content = bytearray(size)
        for event in [*certain, *some]:
            content[event.offset : event.offset + len(event.data)] = event.data
        last = [*certain, *some][-1:]
        end = sum(last[0].offset + len(last[0].data) for _ in last)
        torn = end - (len(last[0].data) // 2 if some else 0)
        found |= {bytes(content), bytes(content[:end]), bytes(content[:torn])}
    return found
