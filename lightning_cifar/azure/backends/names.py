"""Names that a service takes: of metrics, and of artifacts, which cannot be replaced."""

import hashlib
import re
from collections.abc import Iterator
from itertools import count
from pathlib import PurePosixPath

from lightning_cifar.azure.service_errors import http_status

MAX_KEY_LENGTH = 250


def mlflow_key(name: str) -> str:
    """Return a name that every MLflow server takes for a metric, parameter or tag.

    It takes letters, digits and `_ - . : / space`, no `//`, no `/` at the ends, no `.` or `..` between slashes nor `..`
    at the beginning. A name that had to be changed ends with a hash of what it was, so that `acc@1` and `acc%1` stay
    two, whichever process logs them.
    """
    parts = re.sub(r"[^\w\-. :/]|(?<![^/])\.", "_", name).split("/")
    key = "/".join(part for part in parts if part) or "_"
    if key == name and len(key) <= MAX_KEY_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{key[: MAX_KEY_LENGTH - 1 - len(digest)]}-{digest}"


def artifact_name(path: str, step: int | None = None, suffix: str = "") -> str:
    """Return a name such as `images/val/samples-step-500.png`, of plain characters only.

    SDK v1 escapes any other twice, so that the content goes to another name than the service knows.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in path.split("/")]
    return "/".join(part for part in parts if part.strip(".")) + ("" if step is None else f"-step-{step}") + suffix


def free_names(name: str) -> Iterator[str]:
    """Yield `name`, then `name-1` and so on, with the number before the suffix.

    A name may have been taken by an attempt that then failed, with half of the content or none, or by the job before
    it was restarted.
    """
    path = PurePosixPath(name)
    yield name
    for number in count(1):
        yield str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def is_taken(error: Exception) -> bool:
    """Return whether a service has refused an artifact because there is one of this name."""
    return http_status(error) == 409 or "already exists" in str(error)
