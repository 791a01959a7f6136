"""What a relay is told of a machine that is not as it should be; RELAY_HOOK names one of these, see `quick_relay`."""

import errno
import fcntl
import os
import time
from pathlib import Path


def clock_of_another_day() -> None:
    """Let the clock be as many seconds off as the file CLOCK_SHIFT says."""
    shift, right = Path(os.environ["CLOCK_SHIFT"]), time.time
    time.time = lambda: right() + float(shift.read_text() or 0)


def network_share() -> None:
    """Let the folders NETWORK_SHARE refuse locks, and take their time to rename."""
    shares, lock, rename = tuple(os.environ["NETWORK_SHARE"].split(os.pathsep)), fcntl.flock, os.replace

    def flock(file, operation):
        number = file if isinstance(file, int) else file.fileno()
        if str(Path(f"/proc/self/fd/{number}").readlink()).startswith(shares):
            raise OSError(errno.ENOLCK, "no locks available")
        lock(file, operation)

    def replace(source, target):
        time.sleep(0.2 * os.fspath(target).startswith(shares))
        rename(source, target)

    fcntl.flock, os.replace = flock, replace
