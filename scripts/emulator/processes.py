"""The processes of a job: each started in a session of its own, all watched, and ended for certain."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

_SWEEP = 5.0  # seconds for killed processes to be gone


class Processes:
    """Processes by rank, with `grace` seconds between SIGTERM and SIGKILL."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._all: list[subprocess.Popen[bytes]] = []
        self._codes: dict[int, int] = {}  # rank → exit code, in the order in which they ended
        self._ended = threading.Condition()
        self._asked = False

    @property
    def pids(self) -> list[int]:
        """Their ids, by rank; each leads a process group."""
        return [process.pid for process in self._all]

    def start(self, command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        """Start one more, with both its outputs in `log`."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        rank = len(self._all)
        self._all.append(process)
        threading.Thread(target=self._wait, args=(rank, process), daemon=True).start()

    def _wait(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._ended:
            self._codes[rank] = code
            self._ended.notify_all()

    def wait(self, timeout: float | None) -> bool:
        """Wait until all have ended or one has failed; return whether it came to that within `timeout` seconds."""
        with self._ended:
            return self._ended.wait_for(
                lambda: len(self._codes) == len(self._all) or any(self._codes.values()), timeout
            )

    def first_failure(self) -> tuple[int, int] | None:
        """Return rank and exit code of the first that failed; the others are ended because of it."""
        with self._ended:
            return next(((rank, code) for rank, code in self._codes.items() if code), None)

    def terminate(self) -> None:
        """Send SIGTERM to their groups, SIGKILL to those that then take too long, and wait for all."""
        with self._ended:
            first, self._asked = not self._asked, True
            if first:  # a program may take a second signal for impatience
                self._signal(signal.SIGTERM)
            self._ended.wait_for(lambda: len(self._codes) == len(self._all), self._grace)
            self._signal(signal.SIGKILL)
            self._ended.wait_for(lambda: len(self._codes) == len(self._all), _SWEEP)

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
        for rank, process in enumerate(self._all):
            if rank not in self._codes:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
