"""A workspace, its runs and datastores through SDK v1 (azureml-core); another SDK can stand beside it."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from azureml._vendor.azure_storage.blob import ContentSettings
from azureml.core import Datastore, Environment, Experiment, Run, Workspace, authentication

from lightning_cifar.errors import UserError
from scripts.azure import git_address, preflight, sdk_v1_definition
from scripts.azure.blob_store import BlobStore, read_signed
from scripts.azure.job import DatastorePath, Job
from scripts.azure.service_errors import ask, explained, find
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import Curves, Point, RunDetails, as_details, near, not_there
from scripts.azure.workspace import Address, azure_cli_token, choose_sign_in, service_principal


class SubmitterV1:
    """A workspace; see `scripts.azure.submitter.Submitter`."""

    has_assets = False

    def __init__(self, azure: Workspace) -> None:
        self._azure = azure
        self.workspace: str = azure.name

    @staticmethod
    def describe(job: Job) -> str:
        """Return the definition of a job as YAML, as it would be sent; ask nobody."""
        environment = sdk_v1_definition.build_environment(job)
        return sdk_v1_definition.as_yaml(job, sdk_v1_definition.define(job, Path.cwd(), environment))

    @classmethod
    def connect(cls, address: Address, auth: str) -> "SubmitterV1":
        """Sign in, open the workspace and return its submitter."""
        for library in ("azureml", "msrest"):  # what they would print comes as an exception, too
            logging.getLogger(library).addHandler(logging.NullHandler())
        with explained(f"workspace {address.workspace} of resource group {address.resource_group}"):
            azure = Workspace.get(
                address.workspace,
                auth=_sign_in(choose_sign_in(auth)),
                subscription_id=address.subscription,
                resource_group=address.resource_group,
            )
        return cls(azure)

    def check(self, job: Job) -> Job:
        """Ask for the compute and the data that a job names; return the job as it will run."""
        targets = ask("the compute targets of the workspace", lambda: self._azure.compute_targets)
        computes = {name: _compute(target) for name, target in targets.items()}
        job = replace(job, gpu=preflight.check_compute(job, computes, self.workspace))
        if isinstance(job.data, DatastorePath):
            store = self.datastore(job.data.datastore)
            job = replace(job, data_is_archive=preflight.check_data(store, job.data))
        return job

    def submit(self, job: Job, snapshot: Snapshot) -> "_RunV1":
        """Make the environment where it is new, send the snapshot and start the job."""
        environment = self._environment(job)
        git_address.hide_passwords()
        with tempfile.TemporaryDirectory(prefix="snapshot-") as folder:
            snapshot.copy_to(Path(folder))
            config = sdk_v1_definition.define(job, Path(folder), environment)
            with explained(f"submission to experiment {job.experiment}"):
                run: Run = Experiment(self._azure, job.experiment).submit(config)
        with explained(f"name and tags of run {run.id}, which is submitted"):
            if job.display_name:
                run.display_name = job.display_name
            if job.tags:
                run.set_tags(job.tags)
        return _RunV1(run)

    def runs(self, experiment: str, number: int) -> "list[_RunV1]":
        """Return the latest runs of an experiment, at most `number`."""
        what = f"the runs of experiment {experiment}"
        names = ask(what, lambda: {each.name for each in Experiment.list(self._azure)})
        if experiment not in names:
            raise not_there(f"experiment {experiment!r}", self.workspace, names, "`make submit` makes it")
        runs = ask(what, lambda: list(islice(Experiment(self._azure, experiment).get_runs(), number)))
        return [_RunV1(run) for run in runs]

    def open(self, run_id: str) -> "_RunV1":
        """Return the run with this id."""
        return _RunV1(ask(f"run {run_id}", lambda: Run.get(self._azure, run_id)))

    def datastore(self, name: str | None) -> BlobStore:
        """Return a datastore; None: the workspace's own."""
        what = "the datastores of the workspace"
        default = self._azure.get_default_datastore
        if store := find(what, lambda: Datastore.get(self._azure, name) if name else default()):
            return BlobStore(store.name, _container(store), ContentSettings)
        raise not_there(f"datastore {name!r}", self.workspace, ask(what, lambda: list(self._azure.datastores)))

    def make_asset(self, name: str, version: str, place: DatastorePath) -> str:
        """Raise NotImplementedError: SDK v1 has datasets instead, which this project does not use."""
        raise NotImplementedError("SDK v1 has no data assets")

    def _environment(self, job: Job) -> Environment:
        """Return the environment that a job names, or the one of its packages, registered where it is new."""
        spec = job.environment
        name = spec.name or spec.built_name(job.uses_gpu)
        what = f"environment {name}"
        if environment := find(what, lambda: Environment.get(self._azure, name, version=spec.version)):
            return environment
        if not spec.name:
            with explained(what):
                return sdk_v1_definition.build_environment(job).register(self._azure)
        known = ask(what, lambda: list(Environment.list(self._azure)))
        version = f" in version {spec.version}" if spec.version else ""
        raise UserError(
            f"no environment {name!r}{version} in workspace {self.workspace}; near names: {near(name, known)}"
        )


class _RunV1:
    """A submitted run; see `scripts.azure.submitter.RunHandle`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._addresses: dict[str, str] = {}
        self.id: str = run.id
        self.display_name: str = run.display_name or ""
        self.studio_url: str = run.get_portal_url()

    def details(self) -> RunDetails:
        details = ask(f"the state of run {self.id}, which goes on", self._run.get_details)
        self._addresses = details.get("logFiles") or {}
        return as_details(details)

    def log(self, name: str, offset: int = 0) -> bytes:
        return read_signed(f"the log of run {self.id}, which goes on", self._addresses[name], offset)

    def cancel(self) -> None:
        ask(f"cancelling run {self.id}", self._run.cancel)

    def metrics(self, names: Sequence[str] | None = None) -> Curves:
        # `Run.get_metrics` returns no steps; this asks as it does, one layer below.
        client, what = self._run._client.metrics, f"the metrics of run {self.id}"
        there = set(ask(what, lambda: list(client.list_metric_names_for_run_id(self.id))))
        curves = {}
        for name in sorted(there if names is None else there & set(names)):
            series = ask(what, partial(client.get_metric_dto_for_run_v2, name, run_id=self.id))
            values = series.value if series is not None else ()
            numbers = [(value.step, value.data.get(name)) for value in values if isinstance(value.data, dict)]
            points = [Point(step, float(number)) for step, number in numbers if isinstance(number, int | float)]
            if points:
                curves[name] = sorted(points, key=lambda point: (point.step is None, point.step))
        return curves

    def files(self) -> list[str]:
        return list(ask(f"the files of run {self.id}", self._run.get_file_names))

    def download(self, folder: Path) -> None:
        with explained(f"the outputs of run {self.id}"):
            self._run.download_files(prefix="outputs/", output_directory=str(folder), append_prefix=True)

    def register_model(self, name: str, path: str) -> str:
        with explained(f"registering {path} of run {self.id}"):
            return str(self._run.register_model(name, model_path=path).version)


def _container(store: Any) -> Any:
    """Return the client of a datastore's container; None for what is no blob storage."""
    service = getattr(store, "blob_service", None)
    return service.get_container_client(store.container_name) if service else None


def _compute(target: Any) -> preflight.Compute:
    most = getattr(getattr(target, "scale_settings", None), "maximum_node_count", None)
    return preflight.Compute(str(getattr(target, "vm_size", "") or ""), most)


def _sign_in(way: str) -> authentication.AbstractAuthentication:
    if way == "service-principal":
        return authentication.ServicePrincipalAuthentication(*service_principal())
    if way == "managed-identity":
        return authentication.MsiAuthentication()
    if way == "cli":
        # The SDK's AzureCliAuthentication wants azure-cli in this Python; the command is enough.
        return authentication.TokenAuthentication(azure_cli_token)
    return authentication.InteractiveLoginAuthentication()
