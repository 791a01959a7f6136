"""Backends: each sends entries to a run by one SDK. Nothing outside of this folder imports an SDK."""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lightning_cifar.errors import UserError

if TYPE_CHECKING:
    from lightning_cifar.azure.run import RunAddress

DEFAULT = "v1"
"""Name of the backend for a run that names no other; a record keeps its own, so that a replay takes the same."""
AZURE_SCHEME = "azureml://"
# Name → module and class. Any other name is a module and class of one's own.
_BACKENDS = {
    "v1": "lightning_cifar.azure.backends.sdk_v1:SdkV1",
    "mlflow": "lightning_cifar.azure.backends.mlflow:Mlflow",
}


class Limits(NamedTuple):
    """What a service takes of one run; beyond it a request fails, or the values are dropped."""

    names: int = sys.maxsize  # of metrics, tables, images and matrices, whichever of its processes logged them
    name_length: int = sys.maxsize
    columns: int = sys.maxsize  # of a table
    cell_length: int = 6000  # of a table's cell: of an MLflow param's value


# https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity; no limit of a table's cell is published,
# this is a tag's. What Azure ML takes by MLflow is not known: there each name that it refuses is left out by itself.
V1_LIMITS = Limits(50, 255, 15, 1000)


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

    def points(self, name: str) -> Iterable[int]:
        """Return the steps at which the service has a value of a metric; there may be millions."""

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

    def artifacts(self) -> Sequence[str]:
        """Return the names of the run's artifacts."""

    def download(self, artifact: str, file: Path) -> None:
        """Write the content of an artifact to a file."""

    def tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""

    def end(self, status: str, reason: str | None) -> None:
        """End the run as Completed, Failed or Canceled, unless it has ended."""


def choose(backend: str, tracking_uri: str) -> str:
    """Return the name of the backend for a run.

    Args:
        backend: "v1", "mlflow", a module and class of one's own, or "auto": MLflow where a server is named, or a job
            names Azure ML's and azureml-mlflow is installed; else the default one.
        tracking_uri: MLflow's address of the run's service; "": none is named.

    Raises:
        UserError: there is no such backend.
    """
    is_server = tracking_uri.startswith("http")
    if backend == "auto":
        return "mlflow" if is_server or (tracking_uri and not _missing("mlflow", tracking_uri)) else DEFAULT
    if backend == "v1" and is_server:
        raise UserError(f"backend 'v1' cannot log to the MLflow server {tracking_uri}: use backend='mlflow'")
    if backend not in _BACKENDS and ":" not in backend:
        raise UserError(
            f"{backend!r} is no backend of AzureMLLogger's: use auto, {', '.join(_BACKENDS)} or module:Class"
        )
    return backend


def is_known(backend: str) -> bool:
    """Return whether a backend is one of this package's, and no module and class of somebody else's."""
    return backend in _BACKENDS


def limits(backend: str) -> Limits:
    """Return what the service behind a backend takes."""
    return Limits() if backend == "mlflow" else V1_LIMITS


def require(backend: str, tracking_uri: str = "") -> None:
    """Check, without importing it, that a backend's SDK is installed.

    Raises:
        UserError: it is not.
    """
    if package := _missing(backend, tracking_uri):
        name = package.split("==")[0]
        raise UserError(f"{name} is not installed, and AzureMLLogger needs it here: pip install {package}")


def load(backend: str, tracking_uri: str = "") -> type[Backend]:
    """Import a backend with its SDK (1 s, 100 MB), and return its class.

    Raises:
        UserError: there is no such backend, or its SDK is not installed or cannot be imported.
    """
    require(choose(backend, tracking_uri), tracking_uri)
    module, _, attribute = _BACKENDS.get(backend, backend).partition(":")
    # Where the SDK has no byte-code, Python 3.12 and newer say so of its regular expressions on the user's terminal.
    warnings.filterwarnings("ignore", ".*invalid escape sequence", SyntaxWarning)
    try:
        found: type[Backend] = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise not_importable(error) from error
    return found


def _missing(backend: str, tracking_uri: str) -> str | None:
    """Return what to install for a backend, as pip is told it; None: it is there."""
    azure = "azureml-mlflow==1.62.0.post6"  # with another one, pip may take one that cannot send files
    of_mlflow = "mlflow-skinny" if tracking_uri.startswith("http") else azure
    package = {"v1": "azureml-core", "mlflow": of_mlflow}.get(backend)
    try:
        if package is not None:
            version(package.split("==")[0])
    except PackageNotFoundError:
        return package
    return None


def not_importable(error: ImportError) -> UserError:
    """Return an error for an SDK that is installed and lacks something; SDKs import more of themselves as they go."""
    python = ".".join(map(str, sys.version_info[:2]))
    given_up = {"imghdr": "standard-imghdr", "distutils": "setuptools"}  # by Python 3.12 and 3.13
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    install = f"pip install {given_up.get(module, module)}, or" if module else "install"
    return UserError(
        f"the SDK of Azure ML is installed, but Python {python} cannot import it ({error}): "
        f"{install} the versions of requirements.txt and requirements-v2.txt"
    )
