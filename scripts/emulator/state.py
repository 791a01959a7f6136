"""What the emulator keeps: the workspace, and everything that it has received."""

import datetime
import threading
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import Compute, ModelRecord, RunRecord, Workspace

ISO = "%Y-%m-%dT%H:%M:%S.%f0Z"  # Azure's services count tenths of microseconds
FINAL = ("Completed", "Failed", "Canceled")
TENANT = "11111111-1111-1111-1111-111111111111"
PRINCIPAL = "22222222-2222-2222-2222-222222222222"
REGION = "eastus"
ACCOUNT = "emulatorstorage"
BLOBS = f"https://{ACCOUNT}.blob.core.windows.net"


class State:
    """Everything the routes read and write; they hold `lock` while they do, and all others must.

    Only the addresses of `workspace` are answered; other workspaces are not found.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.requests: list[Request] = []
        self.unexpected: list[str] = []
        self.experiments: dict[str, str] = {}  # name → id
        self.runs: dict[str, RunRecord] = {}
        self.artifacts: dict[tuple[str, str], list[str]] = {}  # (origin, container) → paths
        self.blobs: dict[str, dict[str, bytes | Path]] = {}  # container → path → content, or a file that still grows
        self.blocks: dict[tuple[str, str], dict[str, bytes]] = {}  # of blobs that are still coming in
        self.mounts: dict[str, dict[str, Path]] = {}  # container → path → local folder
        self.environments: dict[tuple[str, str], dict[str, Any]] = {}
        self.datastores: dict[str, dict[str, Any]] = {}
        self.assets: dict[str, dict[str, Any]] = {}
        self.resources: dict[str, dict[str, Any]] = {}  # of Resource Manager: path below the workspace → properties
        self.models: list[ModelRecord] = []
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.computes: dict[str, Compute] = {}
        self.events: list[dict[str, Any]] = []  # scheduled, as a node's metadata service lists them
        self.on_submit: Any = None  # called with the run id of each submission
        self.on_cancel: Any = None  # called with the run id; returns whether a job took it

    def check_scope(self, subscription: str, group: str, workspace: str) -> None:
        """Refuse (404) what is not the one workspace, in Resource Manager's words."""
        known = (self.workspace.subscription_id, self.workspace.resource_group, self.workspace.name)
        if f"{subscription}/{group}/{workspace}".lower() != "/".join(known).lower():
            resource = f"Microsoft.MachineLearningServices/workspaces/{workspace}"
            message = f"The Resource '{resource}' under resource group '{group}' was not found."
            raise RefusalError(404, "ResourceNotFound", message)

    def note_unexpected(self, what: str) -> None:
        """Record what should not have happened; the test that caused it fails."""
        with self.lock:
            self.unexpected.append(what)

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment, which is made if it is new."""
        with self.lock:
            return self.experiments.setdefault(name, str(uuid.uuid5(uuid.NAMESPACE_DNS, name)))

    def experiment_name(self, identity: str) -> str:
        """Return the name of the experiment with this id; refuse (404) if there is none."""
        with self.lock:
            names = {known: name for name, known in self.experiments.items()}
        if identity not in names:
            raise RefusalError(404, "UserError", f"Experiment {identity} not found")
        return names[identity]

    def add_run(self, run_id: str, experiment: str, **attributes: Any) -> RunRecord:
        """Make a run, or return the one that has this id."""
        with self.changed:
            self.experiment_id(experiment)
            if run_id not in self.runs:
                number = 1 + sum(run.experiment == experiment for run in self.runs.values())
                run = RunRecord(run_id, experiment, number, created=now(), **attributes)
                run.display_name = run.display_name or run_id
                self.runs[run_id] = run
                self.changed.notify_all()
            return self.runs[run_id]

    def run(self, run_id: str) -> RunRecord:
        """Return a run; refuse (404) if there is none."""
        with self.lock:
            if run_id not in self.runs:
                raise RefusalError(404, "UserError", f"Run {run_id} not found")
            return self.runs[run_id]

    def set_status(self, run: RunRecord, status: str) -> None:
        """Change a run's status; a final one stays, except that a job may be started again."""
        with self.changed:
            if run.status in FINAL and status in (*FINAL, "CancelRequested"):
                return
            run.status = status
            if status == "Running":
                run.started, run.ended = run.started or now(), None
            if status in FINAL:
                run.ended = now()
            self.changed.notify_all()

    def put_artifact(self, origin: str, container: str, path: str, content: bytes | Path | None = None) -> None:
        """Add an artifact; its content may be a file that still grows, or follow as a blob."""
        with self.lock:
            paths = self.artifacts.setdefault((origin, container), [])
            if path not in paths:
                paths.append(path)
            blobs = self.blobs.setdefault("azureml", {})
            key = f"{origin}/{container}/{path}"
            if content is None:
                blobs.setdefault(key, b"")
            else:
                blobs[key] = content


def now() -> str:
    """Return the time in the form of Azure's services."""
    return datetime.datetime.now(datetime.UTC).strftime(ISO)


def signed(container: str, path: str) -> str:
    """Return a blob's address with a (never checked) signature."""
    return f"{BLOBS}/{container}/{quote(path)}?sv=2019-02-02&sr=b&sig=emulator&se=2099-01-01T00%3A00%3A00Z&sp=rcw"
