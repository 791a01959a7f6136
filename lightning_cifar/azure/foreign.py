"""Check a record that may come from elsewhere: what it runs, whom it sends to, what its entries and files are.

Its sender chose every byte of it, and `replay` sends it with this user's sign-in. So it can name no program, no server
that this user has not named, and no file but those beside it.
"""

import contextlib
import os
import re
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from lightning_cifar.azure import backends
from lightning_cifar.azure.outbox import Header, files_folder
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError

NO_ENTRY = "no entry of AzureMLLogger's"
"""Reason for dropping a line of a record."""
_KINDS = ("metric", "table", "image", "confusion_matrix", "tags", "end", "file")
_NAME = re.compile(r"(?!\.+$)[\w.()-]*")  # it becomes a part of an address, or of a file's name
_AZURE = re.compile(r"(azureml://[a-z0-9.-]+\.(azureml\.ms|ml\.azure\.(cn|us))/[\w./()-]*)?", re.IGNORECASE)


def check_header(record: Path, header: Header, backend: str | None = None) -> None:
    """Check what the first line of a record names; `backend` is a module and class of the user's own.

    Raises:
        UserError: it is no run, code that would be run, or a server that would get to know this user's sign-in.
    """
    address, kinds = header.address, get_type_hints(RunAddress)
    if not all(isinstance(value, kinds[name]) for name, value in asdict(address).items()):
        raise UserError(f"{record} names no run in its first line: it is not AzureMLLogger's")
    for name in (address.run_id, address.workspace, address.resource_group, address.subscription_id):
        if not _NAME.fullmatch(name):
            raise UserError(f"{record} calls its run or workspace {name!r}: Azure ML has no such names")
    if not backends.is_known(header.backend) and header.backend != backend:
        raise UserError(f"{record} would run the code {header.backend!r}: name it with --backend if it is yours")
    if record.with_name(f"{record.name}.log").is_symlink():
        raise UserError(f"{record}.log is a link, and would be written to: remove it")
    # A server gets the sign-in that MLflow finds here, and says where on this machine MLflow is to put files.
    uri, named = address.tracking_uri, os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if not _AZURE.fullmatch(uri) and uri != named:
        raise UserError(
            f"{record} is for the server {uri!r}, which would get your sign-in: if it is yours, call this again with "
            "MLFLOW_TRACKING_URI set to that address"
        )


def is_entry(entry: dict[str, Any]) -> bool:
    """Return whether an entry is as AzureMLLogger writes it."""
    if sum(kind in entry for kind in _KINDS) != 1:
        return False
    match entry:
        case {"skip": str()} | {"confusion_matrix": str(), "value": dict()}:
            return True
        case {"metric": str(), "value": int() | float() as value, "step": int(), "time": int() | float() as seconds}:
            return abs(value) < float("inf") and abs(seconds) < 1e12  # false of NaN, too
        case {"table": str(), "columns": [*columns], "rows": [*rows]}:
            return all(isinstance(name, str) for name in columns) and all(
                isinstance(row, list) and len(row) == len(columns) for row in rows
            )
        case {"tags": dict() as tags}:
            return all(isinstance(value, str) for value in tags.values())
        case {"end": "Completed" | "Failed" | "Canceled"}:
            return isinstance(entry.get("reason"), str | None)
        case {"image": str(), "path": str() as path}:
            return _is_below(path)
        case {"file": str() as name, "path": str() as path}:
            return _is_below(name) and _is_below(path)
    return False


def own_file(record: Path, path: str) -> Path | None:
    """Return the file that an entry refers to; None where it is gone, or a link leads out of the record's folder."""
    folder = record.parent.resolve() / files_folder(record).name
    file = Path(os.path.realpath(folder / path))
    with contextlib.suppress(OSError):  # a name that is too long
        return file if file.is_relative_to(folder) and file.is_file() else None
    return None


def _is_below(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and "/" not in parts and ".." not in parts and path.isprintable()
