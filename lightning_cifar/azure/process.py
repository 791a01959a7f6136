"""The training process's side of a forwarder: starts it, waits for it, knows what has not got through."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning_cifar
from lightning_cifar.azure.outbox import Outbox, Progress, entry_line, files_folder
from lightning_cifar.azure.run import RunAddress

_PACKAGE_PARENT = str(Path(lightning_cifar.__file__).parent.parent)
# A forwarder that ended unasked (killed for memory, say) is started again, but not more often than this.
_RESTART_SECONDS = 10.0
# So long a forwarder that has nothing left to send may take to end.
_END_SECONDS = 3.0
# Exit code of a forwarder that nothing but a person can help, so that it is not started again.
HOPELESS = 2


class RelayedOutbox:
    """A spool together with the process that sends it; the process starts with the first entry.

    Args:
        path: the spool's file.
        address: the run.
        seconds: how long the forwarder may go on after this process is gone.
        variables: environment variables that only the forwarder gets, such as the caller's sign-in.
    """

    def __init__(self, path: Path, address: RunAddress, seconds: float, variables: dict[str, str]) -> None:
        self._spool = Outbox(path.absolute(), address)
        self._seconds = seconds
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._looked_at = 0.0

    @property
    def path(self) -> Path:
        """The spool's file."""
        return self._spool.path

    @property
    def used(self) -> bool:
        """Whether anything was logged."""
        return self._spool.size > 0

    @property
    def progress(self) -> Progress:
        """How far the service has confirmed it."""
        return Progress.read(self.path)

    @property
    def settled(self) -> bool:
        """Whether everything so far is confirmed, or set aside as unsendable."""
        return self.progress.offset >= self._spool.size

    @property
    def files(self) -> Path:
        """The folder for files that entries refer to."""
        return files_folder(self.path)

    def append(self, lines: str) -> None:
        """Append whole lines, and see to it that a forwarder is there."""
        self._spool.append(lines)
        now = time.monotonic()
        if self._process is None or now > self._looked_at + _RESTART_SECONDS:
            self._looked_at = now
            with contextlib.suppress(OSError):  # no memory for a process, say: the record is there all the same
                self.ensure_forwarder()

    def append_entry(self, entry: dict[str, object]) -> None:
        """Append one entry."""
        self.append(entry_line(entry))

    def ensure_forwarder(self) -> None:
        """Start the forwarder if there is none, or none any more; leave one that ended as hopeless."""
        if self._process is None or self._process.poll() not in (None, HOPELESS):
            self._process = start_forwarder(self.path, self._seconds, self._variables)

    def wait(self, until: float) -> bool:
        """Wait until everything so far is settled; False if `until` (`time.monotonic()`) came first."""
        goal = self._spool.size
        asked = 0.0
        self.ensure_forwarder()
        while True:
            if self.progress.offset >= goal:
                return True
            now = time.monotonic()
            if now >= until or (self._process is not None and self._process.poll() == HOPELESS):
                return False
            if now > asked + 1.0 and self._process is not None and self._process.poll() is None:
                asked = now
                os.kill(self._process.pid, signal.SIGCONT)
            time.sleep(0.05)

    def close(self) -> None:
        """Let the forwarder end as soon as nothing is left, as if this process were gone, and close the file."""
        self._spool.close()
        if self._process is not None and self._process.stdin is not None:
            # A word, because a process that was forked from this one holds the pipe open.
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"closed")
                self._process.stdin.close()
            if self.settled:  # else it goes on for a while, and nobody waits for it
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)


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


def start_forwarder(spool: Path, seconds: float, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start the process that sends `spool`; what it has to say goes to `<spool>.log`.

    Anything on its standard input, or the end of it, tells it that nothing more will be logged.
    """
    command = [sys.executable, "-m", "lightning_cifar.azure.relay", str(spool)]
    command += ["--parent", str(os.getpid()), "--seconds", str(seconds)]
    with spool.with_name(spool.name + ".log").open("ab") as log:
        # On a terminal the SDK may have to ask a person to sign in; elsewhere nobody could answer.
        stdout = None if sys.stdout is not None and sys.stdout.isatty() else log
        return subprocess.Popen(
            command,
            env=child_environment() | variables,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=log,
            start_new_session=True,
        )
