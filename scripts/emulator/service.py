"""The emulator's Python interface: start, environments of processes, what it holds, misbehaviour, jobs."""

import json
import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any, Self

from scripts.emulator import environments
from scripts.emulator.ca import CertificateAuthority
from scripts.emulator.job import Job
from scripts.emulator.messages import Request
from scripts.emulator.proxy import LOOPBACK, Proxy
from scripts.emulator.records import Compute, Metric, ModelRecord, RunRecord, Workspace
from scripts.emulator.routes import GROUPS, blobs, content, datastores, metadata
from scripts.emulator.routes import environments as environment_routes
from scripts.emulator.routing import Router
from scripts.emulator.state import FINAL, State

_DAY = 24 * 3600.0
NOTICE_SECONDS = 30.0
"""So long before, at least, Azure announces that it takes a node away."""
_CURATED: dict[str, Any] = {
    "environmentVariables": {},
    "python": {"userManagedDependencies": True, "interpreterPath": "python", "condaDependencies": None},
    "docker": {"enabled": True, "baseImage": "mcr.microsoft.com/azureml/curated/emulator:1", "arguments": []},
    "spark": {"repositories": [], "packages": [], "precachePackages": True},
    "inferencingStackVersion": None,
}


class Emulator:
    """A loopback Azure ML; for `misbehave` and `behave` see `Proxy`, for `proxy_url` its `url`.

    Args:
        run_jobs: start every submission as soon as it arrives.
        grace: seconds that the processes of a job have between SIGTERM and SIGKILL.
        fresh_environments: build the environment of each job anew; else jobs run in this process's Python.
    """

    def __init__(self, run_jobs: bool = False, grace: float = 10.0, fresh_environments: bool = False) -> None:
        self.grace = grace
        self._fresh = fresh_environments
        self.folder = Path(tempfile.mkdtemp(prefix="emulator-"))
        self.workspace = Workspace()
        self.state = State(self.workspace)
        authority = CertificateAuthority(self.folder)
        self.ca_file = authority.file
        self._proxy = Proxy(self.state, Router(GROUPS), authority)
        self.proxy_url = self._proxy.url
        self.misbehave, self.behave = self._proxy.misbehave, self._proxy.behave
        datastores.add(self.state, datastores.DEFAULT, f"azureml-blobstore-{self.workspace.id}")
        datastores.add(self.state, "workspaceartifactstore", "azureml")  # where SDK v2 looks for what runs left
        self.add_compute("cpu-cluster")
        self.add_compute("gpu-cluster", "STANDARD_NC6S_V3")
        self._jobs: dict[str, Job] = {}
        self.state.on_cancel = self._cancel_job
        if run_jobs:
            self.state.on_submit = self.start_job

    def start(self) -> Self:
        """Listen on a free loopback port."""
        self._proxy.start()
        return self

    def close(self) -> None:
        """End every job, stop, and delete the scratch folder."""
        for job in list(self._jobs.values()):
            job.kill()
        self._proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- environments

    def job_environment(
        self, run_id: str, experiment: str = "cifar10", token_seconds: float = _DAY, mlflow: bool = False
    ) -> dict[str, str]:
        """Return the environment of a process inside a running job; the run is made if it is new.

        With `mlflow` the job names its tracking URI, too, as those of SDK v2 do.
        """
        run = self.state.add_run(run_id, experiment, type="azureml.scriptrun", target="cpu-cluster")
        if run.status not in FINAL:
            self.state.set_status(run, "Running")
        return self._bare() | environments.job(self.state, run_id, token_seconds, mlflow)

    def client_environment(self, auth: str = "service-principal") -> dict[str, str]:
        """Return the environment of a control script on a laptop, which signs in by `auth`.

        Args:
            auth: "service-principal", "managed-identity", "cli" (as after `az login`), or "none".
        """
        bare = self._bare()
        return bare | environments.client(auth, f"http://{LOOPBACK}:{self._proxy.port}", Path(bare["HOME"]))

    def _bare(self) -> dict[str, str]:
        # A home for each: the SDK caches addresses and snapshots there, and processes must not share them.
        home = self.folder / f"home-{uuid.uuid4().hex[:8]}"
        home.mkdir(mode=0o700)
        return environments.bare(home, self.proxy_url, self.ca_file)

    def write_config(self, folder: Path | str) -> Path:
        """Write the workspace's config.json into a folder and return its path."""
        path, known = Path(folder) / "config.json", self.workspace
        names = {"subscription_id": known.subscription_id, "resource_group": known.resource_group}
        path.write_text(json.dumps(names | {"workspace_name": known.name}, indent=2))
        return path

    # -- what it holds

    @property
    def requests(self) -> list[Request]:
        """Return every request so far, in order of arrival."""
        with self.state.lock:
            return list(self.state.requests)

    @property
    def unexpected(self) -> list[str]:
        """Return the requests to unknown hosts and unknown routes, and those that it failed to answer."""
        with self.state.lock:
            return list(self.state.unexpected)

    def forgive(self, pattern: str = "") -> None:
        """Remove the unexpected requests in which a regular expression is found."""
        with self.state.lock:
            self.state.unexpected = [what for what in self.state.unexpected if not re.search(pattern, what)]

    def metrics(self, run_id: str) -> list[Metric]:
        """Return all values of a run's metrics in order of arrival."""
        with self.state.lock:
            series = self.state.runs[run_id].metrics.values() if run_id in self.state.runs else ()
            return sorted((value for one in series for value in one.values), key=lambda value: value.arrived)

    def run(self, run_id: str) -> RunRecord:
        """Return a run.

        Raises:
            KeyError: if there is none with this id.
        """
        with self.state.lock:
            return self.state.runs[run_id]

    def runs(self, experiment: str | None = None) -> list[RunRecord]:
        """Return the runs, of one experiment or of all, in order of creation."""
        with self.state.lock:
            return [run for run in self.state.runs.values() if experiment in (None, run.experiment)]

    def artifacts(self, run_id: str) -> dict[str, bytes]:
        """Return a run's artifacts: path to content."""
        with self.state.lock:
            container = self.state.runs[run_id].container
            paths = self.state.artifacts.get(("ExperimentRun", container), [])
            return {path: blobs.read(self.state, "azureml", f"ExperimentRun/{container}/{path}") for path in paths}

    def add_artifact(self, run_id: str, path: str, content: bytes, experiment: str = "cifar10") -> None:
        """Add an artifact, as if an earlier attempt of the run had uploaded it."""
        run = self.state.add_run(run_id, experiment)
        self.state.put_artifact("ExperimentRun", run.container, path, content)

    def models(self) -> list[ModelRecord]:
        """Return the registered models."""
        with self.state.lock:
            return list(self.state.models)

    def environments(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the registered environments by (name, version)."""
        with self.state.lock:
            return dict(self.state.environments)

    def add_compute(self, name: str, vm_size: str = "STANDARD_DS3_V2", max_nodes: int = 4) -> None:
        """Add a compute cluster."""
        with self.state.lock:
            self.state.computes[name] = Compute(name, vm_size, max_nodes)

    def mount(self, path: str, folder: Path | str) -> None:
        """Back a path of the default datastore by a local folder, which is only read."""
        with self.state.lock:
            container = datastores.container_of(self.state, datastores.DEFAULT)
            self.state.mounts.setdefault(container, {})[path.strip("/")] = Path(folder).resolve()

    def datastore(self) -> dict[str, bytes]:
        """Return what the default datastore holds: path to content."""
        container = datastores.container_of(self.state, datastores.DEFAULT)
        return {path: blobs.read(self.state, container, path) for path in blobs.names(self.state, container)}

    def add_environment(self, name: str, version: str = "1") -> None:
        """Register an environment, as curated ones are."""
        with self.state.lock:
            environment_routes.register(self.state, _CURATED | {"name": name}, version)

    def snapshot(self, run_id: str) -> dict[str, bytes]:
        """Return the files that a run was submitted with: path to content."""
        snapshot = self.run(run_id).snapshot
        assert snapshot is not None, f"{run_id} was not submitted"
        return content.files(self.state, snapshot)

    # -- running what was submitted

    def start_job(self, run_id: str) -> Job:
        """Run a submission; returns at once.

        Raises:
            KeyError: if there is no such run.
            ValueError: if it was not submitted, or its job is still running.
        """
        self.run(run_id)
        if run_id in self._jobs and not self._jobs[run_id].ended:
            raise ValueError(f"{run_id} is running already")

        def environment(home: Path) -> dict[str, str]:
            of_v2 = "job" in (self.run(run_id).definition or {})
            variables = environments.job(self.state, run_id, _DAY, mlflow=of_v2)
            return environments.bare(home, self.proxy_url, self.ca_file) | variables

        self._jobs[run_id] = job = Job(self.state, run_id, self.folder / "jobs", environment, self.grace, self._fresh)
        job.start()
        return job

    def preempt_job(self, run_id: str, notice: bool = False) -> bool:
        """Take a job's nodes away; with `notice`, announce it first and leave the job `NOTICE_SECONDS` to end in order.

        Its run is queued then, and `restart_job` goes on with it; return False if the job has ended by itself before.
        """
        job = self.job(run_id)
        if notice:
            with self.state.lock:
                self.state.events = [metadata.announcement("Preempt")]
            job.leave(NOTICE_SECONDS)
        job.kill()
        with self.state.lock:
            self.state.events = []
        return job.run.status == "Queued"

    def restart_job(self, run_id: str) -> Job:
        """Run a submission again, as after a pre-emption: same run, fresh empty folders, artifacts kept."""
        run = self.run(run_id)
        with self.state.changed:
            run.status, run.error, run.ended = "Queued", None, None
        return self.start_job(run_id)

    def job(self, run_id: str) -> Job:
        """Return the latest job of a run.

        Raises:
            KeyError: if it has none.
        """
        return self._jobs[run_id]

    def _cancel_job(self, run_id: str) -> bool:
        job = self._jobs.get(run_id)
        if job is None or job.ended:
            return False
        job.cancel()
        return True
