"""Upload what a job writes as artifacts of its run, while it runs and at its end."""

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from scripts.emulator.node import UPLOADED, Node
from scripts.emulator.records import RunRecord
from scripts.emulator.state import State

ORIGIN = "ExperimentRun"
_INTERVAL = 0.25  # seconds


class Uploader:
    """Watches the `outputs` and `logs` folders of a job's nodes.

    A file is uploaded when it has not changed for one interval: no half-written one stands in for a whole one.
    Where several nodes write the same file, that of the lowest node is kept.
    """

    def __init__(self, state: State, run: RunRecord, nodes: Sequence[Node]) -> None:
        self._state, self._run, self._nodes = state, run, nodes
        self._seen: dict[Path, tuple[int, int]] = {}
        self._uploaded: dict[Path, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.scan(final=False)

    def scan(self, final: bool) -> None:
        """Upload what is new; `final`: even what has changed since the last scan."""
        files: dict[str, Path] = {}
        for node in reversed(self._nodes):
            for name in UPLOADED:
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile: the next scan finds what is left
                    files |= {file.relative_to(node.work).as_posix(): file for file in (node.work / name).rglob("*")}
        for path, file in files.items():
            with contextlib.suppress(FileNotFoundError):  # renamed or deleted meanwhile
                if file.is_file():
                    self._upload(file, path, final)

    def _upload(self, file: Path, path: str, final: bool) -> None:
        stat = file.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        settled = final or self._seen.get(file) == stamp
        self._seen[file] = stamp
        if settled and self._uploaded.get(file) != stamp:
            self._state.put_artifact(ORIGIN, self._run.container, path, file.read_bytes())
            self._uploaded[file] = stamp
