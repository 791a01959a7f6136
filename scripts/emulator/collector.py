"""Brings what a job writes back as artifacts, while it runs and at its end."""

import threading
from collections.abc import Sequence
from pathlib import Path

from scripts.emulator.node import COLLECTED, Node
from scripts.emulator.records import RunRecord
from scripts.emulator.state import State

_INTERVAL = 0.5
ORIGIN = "ExperimentRun"


class Collector:
    """Watches the `outputs` and `logs` folders of a job's nodes.

    A file is taken when it has not changed for one interval: no half-written one stands in for a whole one.
    Where several nodes write the same file, that of the lowest node is kept.
    """

    def __init__(self, state: State, run: RunRecord, nodes: Sequence[Node]) -> None:
        self._state, self._run, self._nodes = state, run, nodes
        self._seen: dict[Path, tuple[int, int]] = {}
        self._taken: dict[Path, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self, collect: bool = True) -> None:
        """Watch no longer; take all that is there now, unless told that the nodes are gone."""
        self._stop.set()
        self._thread.join()
        if collect:
            self.scan(final=True)

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.scan(final=False)

    def scan(self, final: bool) -> None:
        """Take what is new; `final`: whether or not it has stopped to change."""
        claimed: set[str] = set()
        for node in self._nodes:
            for folder in COLLECTED:
                for file in _files(node.work / folder):
                    path = file.relative_to(node.work).as_posix()
                    if path not in claimed and file.is_file() and self._take(file, path, final):
                        claimed.add(path)

    def _take(self, file: Path, path: str, final: bool) -> bool:
        """Take a file if it is new and whole; return whether it exists."""
        try:
            stat = file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            settled = final or self._seen.get(file) == stamp
            self._seen[file] = stamp
            if settled and self._taken.get(file) != stamp:
                self._state.put_artifact(ORIGIN, self._run.container, path, file.read_bytes())
                self._taken[file] = stamp
        except FileNotFoundError:  # renamed or deleted in between
            return False
        return True


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.rglob("*"))
    except FileNotFoundError:  # a folder was deleted in between: the next look finds what is left
        return []
