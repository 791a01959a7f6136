"""What the senders of one user on one machine share: locks, turns at a run, and a job's token.

It lies in a folder of the user's own below the temporary folder, and not beside the spools, because these may
lie on a network's file system, where a lock fails or keeps others from reading, and because the platform
uploads what lies there. Where the folder cannot be used, each sender goes on alone.
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

from lightning_cifar.azure.run import RunAddress


def shared_file(address: RunAddress, name: str) -> Path:
    """Return the path of what is shared under `name` by those who send to a run; its folder is made.

    Raises:
        OSError: the folder cannot be made, or is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"lightning-cifar-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder / f"{address.run_id}-{name}"


class Lock:
    """A lock that ends with the process that has taken it.

    Args:
        address: the run.
        name: what is locked.
    """

    def __init__(self, address: RunAddress, name: str) -> None:
        self.file: IO[str] | None = None
        with contextlib.suppress(OSError):
            self.file = shared_file(address, f"{name}.lock").open("a+")

    def take(self) -> bool:
        """Take it if nobody has it; say whether that has worked."""
        if self.file is not None:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:  # no locks on this file system
                pass
        return True

    def release(self) -> None:
        """Give it back."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self.file, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Close the file of a lock that the parent process has taken, so that it ends with that process."""
        if self.file is not None:
            self.file.close()


class RunLock:
    """A sender's turns at a run's metrics: two at once, each with the same point, would send it twice.

    The lock's file says who had the last turn, and since when something was in flight, should the sender have
    been killed before it knew the answer.

    Args:
        address: the run.
        in_flight_seconds: so long the service may take to store what a sender that was killed had handed over.
    """

    def __init__(self, address: RunAddress, in_flight_seconds: float) -> None:
        self._lock = Lock(address, "turn")
        self._name = secrets.token_hex(8)
        self._in_flight_seconds = in_flight_seconds

    def take(self) -> bool:
        """Take a turn if it is nobody else's; say whether that has worked."""
        return self._lock.take()

    def release(self) -> None:
        """End the turn."""
        self._lock.release()

    def after_another(self) -> bool:
        """Whether another sender had the turn before; wait until what it may have left in flight has arrived."""
        name, since = self._read()
        if since and name != self._name:
            time.sleep(min(max(0.0, since + self._in_flight_seconds - time.time()), self._in_flight_seconds))
        return name != self._name

    def note(self, in_flight: bool) -> None:
        """Write down that this sender has the turn, and whether an answer is outemulatorg."""
        if self._lock.file is not None:
            with contextlib.suppress(OSError):
                self._lock.file.truncate(0)
                self._lock.file.write(json.dumps([self._name, time.time() if in_flight else None]))
                self._lock.file.flush()

    def _read(self) -> tuple[str | None, float | None]:
        if self._lock.file is None:
            return None, None
        try:
            self._lock.file.seek(0)
            name, since = json.loads(self._lock.file.read())
            return str(name), None if since is None else float(since)
        except (OSError, ValueError, TypeError):
            return None, None


def share_token(token: str) -> None:
    """Keep the job's token, which the SDK renews, for senders that start after the environment's has expired."""
    job = RunAddress.of_job()
    if job is None:
        return
    with contextlib.suppress(OSError):
        target = shared_file(job, "token")
        handle, name = tempfile.mkstemp(dir=target.parent)  # readable by this user only
        with os.fdopen(handle, "w") as file:
            file.write(token)
        Path(name).replace(target)


def take_newest_token() -> None:
    """Put the shared token into the environment, unless the one that is there is good for longer."""
    job = RunAddress.of_job()
    if job is None:
        return
    with contextlib.suppress(OSError):
        token = shared_file(job, "token").read_text()
        if _expiry(token) > _expiry(os.environ.get("AZUREML_RUN_TOKEN", "")):
            os.environ["AZUREML_RUN_TOKEN"] = token
            os.environ.pop("AZUREML_RUN_TOKEN_EXPIRY", None)  # the old token's; the SDK finds the new one's in it


def _expiry(token: str) -> float:
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (ValueError, LookupError, TypeError):
        return 0.0
