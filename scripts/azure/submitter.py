"""Define the interface between the command lines and an SDK, as Protocols: submit, follow, upload."""

import difflib
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lightning_cifar.errors import UserError
from scripts.azure.job import DatastorePath, Job
from scripts.azure.snapshot import Snapshot
from scripts.azure.workspace import Address

FINAL = ("Completed", "Failed", "Canceled")
"""The statuses of a run that has ended."""


class Point(NamedTuple):
    """One value of a metric; step None: logged without one."""

    step: int | None
    value: float


Curves = dict[str, list[Point]]
"""The metrics of a run by name, each in order of its steps."""


class RunDetails(NamedTuple):
    """A run at one moment: its status as Azure ML spells it, why it failed, the names of its logs, its times.

    `code` is whose failure it is, in the service's words: "UserError", "ServiceError".
    """

    status: str
    reason: str
    logs: list[str]
    started: datetime | None
    ended: datetime | None
    code: str = ""


class RunHandle(Protocol):
    """A submitted run; every method raises UserError where the service refuses, fails or cannot be reached."""

    id: str
    display_name: str
    studio_url: str

    def details(self) -> RunDetails:
        """Return its state now."""

    def log(self, name: str, offset: int = 0) -> bytes:
        """Return a log that the latest `details` listed, from byte `offset` on; empty where nothing is new."""

    def cancel(self) -> None:
        """Ask the platform to end it."""

    def metrics(self, names: Sequence[str] | None = None) -> Curves:
        """Return its scalar metrics, those of `names` or all."""

    def files(self) -> list[str]:
        """Return the paths of its artifacts."""

    def download(self, folder: Path) -> None:
        """Copy its artifacts below `outputs/` into a folder, `outputs/` included."""

    def register_model(self, name: str, path: str) -> str:
        """Register an artifact as a model; return the model's version."""


class Datastore(Protocol):
    """A storage of the workspace; only those of blobs have methods, which raise as those of `RunHandle`."""

    name: str
    is_blob_storage: bool

    def holds(self, prefix: str) -> bool:
        """Return whether the path of any file begins with `prefix`."""

    def files(self, prefix: str) -> dict[str, tuple[int, bytes | None]]:
        """Return all files whose path begins with `prefix`: size in bytes, and the MD5 stored with it, if one was."""

    def upload(self, path: str, content: bytes, md5: bytes) -> None:
        """Write a file, over an existing one, and store its MD5 with it."""


class Submitter(Protocol):
    """A workspace through one SDK; methods raise as those of `RunHandle`.

    `has_assets`: whether folders of its datastores can have names and versions.
    """

    has_assets: bool

    @staticmethod
    def describe(job: Job) -> str:
        """Return the definition of a job as YAML, as it would be sent; ask nobody."""

    @classmethod
    def connect(cls, address: Address, auth: str) -> "Submitter":
        """Sign in, open the workspace and return its submitter."""

    def check(self, job: Job) -> Job:
        """Ask for what a job names: compute, data, environment; return the job as it will run."""

    def submit(self, job: Job, snapshot: Snapshot) -> RunHandle:
        """Make the environment where it is new, send the snapshot and start the job."""

    def runs(self, experiment: str, number: int) -> Sequence[RunHandle]:
        """Return the latest runs of an experiment, at most `number`."""

    def open(self, run_id: str) -> RunHandle:
        """Return the run with this id."""

    def datastore(self, name: str | None) -> Datastore:
        """Return a datastore; None: the workspace's own."""

    def make_asset(self, name: str, version: str, place: DatastorePath) -> str:
        """Give a folder of a datastore a name and a version, where that is new; return it as `DATA=` takes it."""


PACKAGES = {
    "v1": ("azureml-core==1.61.0.post4",),
    "v2": ("azure-ai-ml==1.35.2", "azure-identity==1.27.0"),
}
"""What each SDK is, in the versions that the tests run with: `make` installs v2 from here."""


def load(sdk: str) -> type[Submitter]:
    """Return the submitter of an SDK, which is imported here and no earlier; a UserError where it is not installed."""
    for package in PACKAGES[sdk]:
        try:
            metadata.version(package.partition("==")[0])
        except metadata.PackageNotFoundError:
            raise UserError(
                f"SDK {sdk} is not installed here; {sys.executable} -m pip install {' '.join(PACKAGES[sdk])}"
            ) from None
    if sdk == "v2":
        from scripts.azure.sdk_v2 import SubmitterV2

        return SubmitterV2
    # Seconds after a first 429, doubled twice; SDK v1, which reads this when it is imported, has 32 for machines.
    os.environ.setdefault("AZUREML_DEFAULT_BACKOFF", "4")
    # Where the SDK has no byte-code, Python 3.12 and newer say so of its regular expressions.
    warnings.filterwarnings("ignore", ".*invalid escape sequence", SyntaxWarning)
    from scripts.azure.sdk_v1 import SubmitterV1

    return SubmitterV1


def connect(address: Address, auth: str, sdk: str) -> Submitter:
    """Sign in to a workspace."""
    print(f"signing in to workspace {address.workspace} …", flush=True)
    return load(sdk).connect(address, auth)


def as_details(answer: Mapping[str, Any]) -> RunDetails:
    """Return a run's state from what the history service, which both SDKs ask, answers about it."""
    error = (answer.get("error") or {}).get("error") or {}
    started, ended = (_time(answer.get(key)) for key in ("startTimeUtc", "endTimeUtc"))
    logs, code = list(answer.get("logFiles") or {}), error.get("code") or ""
    return RunDetails(answer["status"], error.get("message") or "", logs, started, ended, code)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def near(name: str, there: Iterable[str]) -> str:
    """Return those of many names that resemble one which is not among them."""
    return ", ".join(difflib.get_close_matches(name, list(there), n=5, cutoff=0.4)) or "none; Studio lists all"


def not_there(what: str, workspace: str, there: Iterable[str], remedy: str = "Studio makes one") -> UserError:
    """Return the error about something that the workspace lacks, with what it has instead, or how to make the first."""
    names = ", ".join(sorted(there))
    instead = f"there is: {names}" if names else f"there is none yet: {remedy}"
    return UserError(f"no {what} in workspace {workspace}; {instead}")
