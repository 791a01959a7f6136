"""Flags that name a file of this machine, which a job would look for in vain."""

from collections.abc import Sequence
from pathlib import Path

from lightning_cifar.errors import UserError
from scripts.azure.job import flag_value
from scripts.azure.snapshot import Snapshot

_FILES = ("--config", "-c", "--ckpt_path", "--data.source", "--data.data_dir")


def check(flags: Sequence[str], snapshot: Snapshot) -> None:
    """Compare the paths in the flags with the snapshot; what does not exist here is left to the job.

    Raises:
        UserError: a path exists on this machine but is not sent, or lies outside the project.
    """
    for flag in _FILES:
        value = flag_value(flags, flag)
        if not value or not Path(value).exists():
            continue
        path = Path(value)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{flag} {value}: a job sees only files of the project; copy it there, give a relative path"
            )
        sent = path.as_posix()
        if not any(file == sent or file.startswith(f"{sent}/") for file in snapshot.files):
            raise UserError(
                f"{flag} {value} exists here but is not sent with the job (.amlignore); "
                f"move it to a folder that is sent, or for data `make upload-data DATA=FOLDER`"
            )
