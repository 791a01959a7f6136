"""What the relays of one user on one machine share: a lock for each record, and a job's token.

It lies in a folder of the user's own below the temporary folder, and not beside the records, because these may
lie on a network's file system, where a lock fails or keeps others from reading, and because the platform
uploads what lies there. Where the folder cannot be used, each relay goes on alone.
"""

import contextlib
import hashlib
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import jwt
from filelock import FileLock, Timeout

from lightning_cifar.azure.run import RunAddress
from lightning_cifar.files import atomic_write


def shared_file(address: RunAddress, name: str) -> Path:
    """Return the path of what is shared under `name` by those who send to a run; its folder is made.

    Raises:
        OSError: the folder cannot be made, or is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"lightning-cifar-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder / quote(f"{address.run_id}-{name}", safe="")  # a record from elsewhere may call its run `../x`


def seconds_since(moment: float) -> float:
    """Return how long ago a `time.monotonic()` of this machine's was, or less: nobody sets that clock, but a reboot."""
    now = time.monotonic()
    return now - moment if now >= moment else now  # it was before the boot, which was `now` seconds ago


class RecordLock:
    """The right to send a record, or a copy of it under the same name; it ends with the process that has taken it."""

    def __init__(self, address: RunAddress, record: Path) -> None:
        self._name = hashlib.sha256(f"{os.getuid()} {address.run_id} {record.stem}".encode()).hexdigest()
        self._socket: socket.socket | None = None
        self._lock: FileLock | None = None
        with contextlib.suppress(OSError):
            self._lock = FileLock(shared_file(address, f"{record.stem}.lock"))

    def take(self) -> bool:
        """Take it, unless another process has it; return whether this one has it now."""
        try:
            if self._lock is not None:
                self._lock.acquire(blocking=False)
        except (OSError, NotImplementedError) as error:  # others than Timeout: this file system has no locks
            return not isinstance(error, Timeout) and self._take_name()
        return True

    def _take_name(self) -> bool:
        """Take a name among those of Linux's sockets, which ends with its process too, and needs no file system."""
        if self._socket is None and sys.platform == "linux":
            taken = socket.socket(socket.AF_UNIX)
            try:
                taken.bind(f"\0lightning-cifar-{self._name}")
            except OSError:
                return False
            self._socket = taken
        return True


TOKEN_VARIABLES = ("AZUREML_RUN_TOKEN", "MLFLOW_TRACKING_TOKEN")
"""Where the SDKs look for a job's token."""


def share_token(address: RunAddress, token: str) -> None:
    """Keep the job's token, which the SDK renews, for relays that start after the environment's has expired."""
    with contextlib.suppress(OSError), atomic_write(shared_file(address, "token")) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(token.encode())


def take_newest_token(address: RunAddress) -> None:
    """Put the shared token into the environment, unless the one that is there is valid for longer."""
    with contextlib.suppress(OSError):
        token = shared_file(address, "token").read_text()
        for name in TOKEN_VARIABLES:
            if _expiry(token) > _expiry(os.environ.get(name, "")):
                os.environ[name] = token
                os.environ.pop("AZUREML_RUN_TOKEN_EXPIRY", None)  # the old token's; the SDK finds the new one's in it


def _expiry(token: str) -> float:
    try:
        return float(jwt.decode(token, options={"verify_signature": False})["exp"])
    except (jwt.InvalidTokenError, KeyError):
        return 0.0
