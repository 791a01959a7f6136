"""The processes of a job: started each in a session of its own, and ended for certain."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path

_SWEEP = 5.0  # seconds for killed processes to be gone


class Processes:
    """Processes by rank.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._all: list[subprocess.Popen[bytes]] = []
        self._failed: int | None = None

    def __len__(self) -> int:
        return len(self._all)

    @property
    def pids(self) -> list[int]:
        """Their ids, by rank; each leads a process group."""
        return [process.pid for process in self._all]

    def start(self, command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        """Start one more, with both its outputs in `log`."""
        with log.open("wb") as stream:
            self._all.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def running(self) -> bool:
        """Tell whether any is still running."""
        return any(process.poll() is None for process in self._all)

    def first_failure(self) -> tuple[int, int] | None:
        """Return rank and exit code of the one that failed first.

        That the others are then made to end is no failure of theirs.
        """
        if self._failed is None:
            codes = [process.poll() for process in self._all]
            self._failed = next((rank for rank, code in enumerate(codes) if code), None)
        return None if self._failed is None else (self._failed, self._all[self._failed].returncode)

    def terminate(self) -> None:
        """Send SIGTERM to their groups, and after a while SIGKILL."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while time.monotonic() < deadline and self.running():
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to their groups."""
        self._signal(signal.SIGKILL)

    def sweep(self, homes: Collection[Path]) -> None:
        """End what they have left behind, even in sessions of their own, as the end of a container would.

        Args:
            homes: whatever has one of these as HOME belongs to the job, and nothing else does.
        """
        marks = {f"HOME={home}".encode() for home in homes}
        deadline = time.monotonic() + _SWEEP
        while time.monotonic() < deadline:
            found = False
            for entry in Path("/proc").glob("[0-9]*/environ"):
                with contextlib.suppress(OSError):
                    if marks & set(entry.read_bytes().split(b"\0")):
                        os.kill(int(entry.parent.name), signal.SIGKILL)
                        found = True
            if not found:
                return
            time.sleep(0.02)

    def _signal(self, number: int) -> None:
        for process in self._all:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
