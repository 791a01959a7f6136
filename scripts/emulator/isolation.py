"""How the folders of a job's nodes are hidden from each other on one machine."""

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

NAMESPACES = "mount namespaces"
RANDOM_PATHS = "unguessable paths"

# The arguments: folders to cover, up to "--"; pairs of source and target to mount read-only, up to "--"; the
# command, which takes over this process, so that signals reach it.
_SCRIPT = """
set -e
while [ "$1" != -- ]; do mount -t tmpfs -o mode=0,size=4k hidden "$1"; shift; done; shift
while [ "$1" != -- ]; do mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; shift 2; done; shift
exec "$@"
"""


@functools.cache
def _unshare() -> tuple[str, ...] | None:
    """Return the command that gives a process mounts of its own, or None where this machine has none."""
    if shutil.which("unshare") is None:
        return None
    # As root; or, where users may have namespaces, as root of one's own.
    for command in (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount")):
        with tempfile.TemporaryDirectory() as folder:
            hidden, source, target = (Path(folder) / name for name in ("hidden", "source", "target"))
            for path in (hidden, source, target):
                path.mkdir()
            (hidden / "file").touch()
            (source / "file").touch()
            probe = f'test ! -e "{hidden}/file" && test -e "{target}/file"'
            inner = [str(hidden), "--", str(source), str(target), "--", "sh", "-c", probe]
            tried = subprocess.run([*command, "sh", "-c", _SCRIPT, "sh", *inner], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return None


def method() -> str:
    """Return which way this machine offers: `NAMESPACES`, or `RANDOM_PATHS`, which is hiding by obscurity."""
    return NAMESPACES if _unshare() else RANDOM_PATHS


def isolated(command: Sequence[str], hidden: Sequence[Path], read_only: Mapping[Path, Path]) -> list[str]:
    """Return a command that runs another one, which cannot look into the hidden folders.

    Args:
        command: the program and its arguments.
        hidden: folders that it finds empty.
        read_only: folders that it finds elsewhere, not writable: target (an existing folder) to source.
            Without namespaces the target is replaced by a link to the source.
    """
    # If the emulator itself is killed, the job's processes go with it.
    tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    unshare = _unshare()
    if unshare is None:
        for target, source in read_only.items():
            if not target.is_symlink():
                target.rmdir()
                target.symlink_to(source)
        return [*tied, *command]
    pairs = [str(path) for target, source in read_only.items() for path in (source, target)]
    return [*tied, *unshare, "sh", "-c", _SCRIPT, "sh", *map(str, hidden), "--", *pairs, "--", *command]
