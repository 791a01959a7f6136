"""The training process's side of a relay: start it, wait for it, end it."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning_cifar
from lightning_cifar.azure.outbox import Outbox, Progress
from lightning_cifar.azure.run import RunAddress

RELAY = "lightning_cifar.azure.relay"
"""The module that a relay's process runs."""
HOPELESS = 2
"""Exit code of a relay that nothing but a person can help, so that it is not started again."""
NO_FORK = "sending needs a system that can fork: Linux, macOS or WSL"
"""Why a record is only kept on Windows."""
RESTART_SECONDS = 10.0
"""A relay that ended unasked (killed for memory, say) is started again, but not more often than this."""
_END_SECONDS = 3.0  # so long a relay that has nothing left to send may take to end
_PACKAGE_PARENT = str(Path(lightning_cifar.__file__).parent.parent)
_Relay = subprocess.Popen[bytes]


class RelayedOutbox(Outbox):
    """An outbox together with the process that sends it, which begins with the first entry: see `start_relay`."""

    def __init__(
        self, path: Path, address: RunAddress, backend: str, seconds: float, variables: dict[str, str], **how: Any
    ) -> None:
        super().__init__(path.absolute(), address, backend, **how)
        self._seconds, self._variables = seconds, variables
        self._checked_at = -math.inf
        self.process: _Relay | None = None

    @property
    def is_sending(self) -> bool:
        """Whether the relay runs."""
        return self.process is not None and self.process.poll() is None

    def settled(self, size: int) -> bool:
        """Return whether the first `size` bytes are confirmed or dropped."""
        return Progress.read(self.path).offset >= size

    def append(self, lines: str) -> None:
        """Append whole lines, and make sure that a relay is there."""
        super().append(lines)
        self._ensure_relay()

    def wait(self, until: float) -> bool:
        """Wait until everything so far is settled; return False if `until` (`time.monotonic()`) came first."""
        self._checked_at = -math.inf
        while not self.settled(self.size):
            self._ensure_relay()
            if time.monotonic() >= until or (self.process is not None and self.process.poll() == HOPELESS):
                return False
            if self.process is not None and hasattr(signal, "SIGCONT"):  # not on Windows, where it is about to give up
                self.process.send_signal(signal.SIGCONT)  # somebody waits: see `Relay`
            time.sleep(0.05)
        return True

    def close(self) -> None:
        """Let the relay end as soon as nothing is left, as if this process were gone, and close the file."""
        super().close()
        if self.process is not None and self.process.stdin is not None:
            # A word, because a process that was forked from this one holds the pipe open.
            with contextlib.suppress(OSError):
                self.process.stdin.write(b"closed")
                self.process.stdin.close()
            if self.settled(self.size):  # else it goes on for a while, and nobody waits for it
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_END_SECONDS)

    def _ensure_relay(self) -> None:
        if (now := time.monotonic()) > self._checked_at + RESTART_SECONDS:
            self._checked_at = now
            if self.process is None or self.process.poll() not in (None, HOPELESS):
                with contextlib.suppress(OSError):  # no memory for a process, say: the record is there all the same
                    self.process = start_relay(self.path, self._seconds, self._variables)


def child_environment() -> dict[str, str]:
    """Return the environment of a process that uses the SDK on this one's behalf.

    It finds this very package, however the training script found it. The SDK's own waits between retries, up
    to 128 s, are cut to seconds: these processes try again themselves.
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_PACKAGE_PARENT, os.environ.get("PYTHONPATH")]))
    for name in ("AZUREML_DEFAULT_BACKOFF", "AZUREML_DEFAULT_500_BACKOFF", "AZUREML_DEFAULT_503_BACKOFF"):
        environment[name] = "1"
    return environment


def start_relay(record: Path, seconds: float, variables: dict[str, str] | None = None) -> _Relay:
    """Start the process that sends a record; what it prints goes to `<record>.log`.

    Anything on its standard input, or the end of it, means that nothing more will be logged. It may go on for `seconds`
    after this process is gone. The environment `variables` are for it alone, such as the caller's sign-in.
    """
    with record.with_name(record.name + ".log").open("ab") as log:
        # On a terminal the SDK may have to ask a person to sign in; elsewhere nobody could answer.
        on_terminal = sys.stdout is not None and sys.stdout.isatty()
        return subprocess.Popen(
            [sys.executable, "-m", RELAY, str(record), str(os.getpid()), str(seconds)],
            env=child_environment() | (variables or {}),
            stdin=subprocess.PIPE,
            stdout=None if on_terminal else log,
            stderr=log,
            start_new_session=True,
        )
