"""Backends: each sends entries to a run by one SDK. Nothing outside of this folder imports an SDK."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lightning_cifar.errors import UserError

if TYPE_CHECKING:
    from lightning_cifar.azure.run import RunAddress

DEFAULT = "v1"
"""Name of the backend that new records are sent by; a record keeps it, so that a replay takes the same."""
# Name → module and class, and the package that it needs. Any other name is a module and class of one's own.
_BACKENDS = {"v1": ("lightning_cifar.azure.backends.sdk_v1:SdkV1", "azureml-core")}

# What Azure ML takes of one run; beyond it a request fails, or the values are dropped:
# https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity
MAX_NAMES = 50  # of metrics, tables, images and matrices, whichever of its processes logged them
MAX_NAME_LENGTH = 255
MAX_COLUMNS = 15  # of a table
MAX_CELL_LENGTH = 1000  # of a table's cell; none is published, this is the limit of a tag's value


class Point(NamedTuple):
    """One value of one metric; `time` in seconds since 1970."""

    name: str
    step: int
    value: float
    time: float


class Backend(Protocol):
    """One run, opened when this is made; made anew after each failure, so that it starts from what the service has.

    Any method may raise what the SDK raises. Nothing of what it was called with may then be taken for sent, nor for
    lost. It must not send anything twice by itself.

    Args:
        address: the run.
        touch: called whenever the service has answered; a backend whose last answer is too old is killed.
    """

    names: set[str]
    """Names of the run's metrics, tables, images and matrices; the caller adds those that it sends."""

    def __init__(self, address: "RunAddress", touch: Callable[[], None]) -> None: ...

    @staticmethod
    def open_run(address: "RunAddress", workspace: Any = None) -> Any:
        """Return the SDK's own object of the run; start an interactive run that does not exist yet.

        `workspace` is the SDK's, where it is at hand with a sign-in that was made in code.
        """

    @property
    def token(self) -> str | None:
        """The job's token as the SDK has renewed it; None where another sign-in is used."""

    def points(self, name: str) -> set[int]:
        """Return the steps at which the service has a value of a metric."""

    def log(self, points: Sequence[Point]) -> list[str]:
        """Store points; return what the service answered to each that it refused for good."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
        """Add rows that a table lacks; return what the service answered to those that it refused for good."""

    def image(self, name: str, artifact: str, folder: Path) -> None:
        """Show the picture `folder / artifact` under `name`, unless it is there."""

    def confusion_matrix(self, name: str, value: dict[str, Any]) -> None:
        """Show a confusion matrix under `name`, unless it is there."""

    def upload(self, artifact: str, file: Path) -> None:
        """Upload a file as an artifact, under another name if this one is taken."""

    def tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""

    def end(self, status: str, reason: str | None) -> None:
        """End the run as Completed, Failed or Canceled, unless it has ended."""


def require(name: str | None = None) -> None:
    """Check, without importing it, that a backend's SDK (None: the default one's) is installed.

    Raises:
        UserError: it is not.
    """
    _, package = _BACKENDS.get(name or DEFAULT, (None, None))
    try:
        if package is not None:
            version(package)
    except PackageNotFoundError:
        raise UserError(f"{package} is not installed, and AzureMLLogger needs it here: pip install {package}") from None


def load(name: str) -> type[Backend]:
    """Import a backend with its SDK (`v1`: 1 s, 100 MB), and return its class.

    Raises:
        UserError: there is no such backend, or its SDK is not installed or cannot be imported.
    """
    require(name)
    path, _ = _BACKENDS.get(name, (name, None))
    module, _, attribute = path.partition(":")
    if not attribute:
        raise UserError(f"{name!r} is no backend of AzureMLLogger's: use {', '.join(_BACKENDS)} or module:Class")
    try:
        backend: type[Backend] = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise not_importable(error) from error
    return backend


def not_importable(error: ImportError) -> UserError:
    """Return an error for an SDK that is installed and lacks something; SDKs import more of themselves as they go."""
    python = ".".join(map(str, sys.version_info[:2]))
    return UserError(
        f"the SDK of Azure ML is installed, but Python {python} cannot import it ({error}): use Python 3.11"
    )
