"""A workspace, its runs and datastores through SDK v2 (azure-ai-ml), which Azure's own documentation takes."""

import contextlib
import io
import logging
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.ai.ml import MLClient, load_job
from azure.ai.ml.entities import AzureBlobDatastore, Data, Environment, Model
from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import RetryPolicy
from azure.identity import (
    AzureCliCredential,
    ClientSecretCredential,
    InteractiveBrowserCredential,
    ManagedIdentityCredential,
)
from azure.storage.blob import ContainerClient, ContentSettings

from lightning_cifar.errors import UserError
from scripts.azure import git_address, preflight, sdk_v2_definition
from scripts.azure.blob_store import BlobStore
from scripts.azure.environment import in_registry
from scripts.azure.job import SERVERLESS, DataAsset, DatastorePath, Job
from scripts.azure.sdk_v2_history import History
from scripts.azure.service_errors import answer_was_lost, ask, explained, find
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import Curves, RunDetails, near, not_there
from scripts.azure.workspace import Address, choose_sign_in, service_principal

# What they would print comes as an exception, too, or is said of "experimental" classes of their own.
logging.getLogger("azure").addHandler(logging.NullHandler())
logging.getLogger("azure.ai.ml").setLevel(logging.CRITICAL)

_DATASTORE_PATH = re.compile(r"azureml:.*/datastores/([^/]+)/paths/(.+?)/?")
_LONGEST_PAUSE = 30.0


class _Retries(RetryPolicy[Any, Any]):
    """Ask once more; a service that asks to be left alone for long is not waited for."""

    def get_retry_after(self, response: Any) -> float | None:
        pause = super().get_retry_after(response)
        return None if pause is None else min(pause, _LONGEST_PAUSE)


BOUNDED: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 25}
"""Seconds for a connection and for an answer, which is asked for twice; azure-core's own are 300, four times over."""


class SubmitterV2:
    """A workspace; see `scripts.azure.submitter.Submitter`."""

    has_assets = True

    def __init__(self, azure: MLClient, credential: TokenCredential, host: str, scope: str) -> None:
        self._azure, self._credential = azure, credential
        self._history = History(credential, host, scope, _bounded())
        self.workspace = str(azure.workspace_name)

    @staticmethod
    def describe(job: Job) -> str:
        """Return the definition of a job as a `job.yml`, which the SDK has read; ask nobody."""
        text = sdk_v2_definition.as_yaml(sdk_v2_definition.define(job))
        _read(text)
        return text

    @classmethod
    def connect(cls, address: Address, auth: str) -> "SubmitterV2":
        """Sign in, open the workspace and return its submitter."""
        credential = _sign_in(choose_sign_in(auth))
        names = (address.subscription, address.resource_group, address.workspace)
        azure = MLClient(credential, *names, show_progress=False, enable_telemetry=False, **_bounded())
        what = f"workspace {address.workspace} of resource group {address.resource_group}"
        found = ask(what, lambda: azure.workspaces.get(address.workspace))
        return cls(azure, credential, urlsplit(found.mlflow_tracking_uri).netloc, found.id)

    def check(self, job: Job) -> Job:
        """Ask for the compute, the environment and the data that a job names; return the job as it will run."""
        if job.compute == SERVERLESS:
            job = replace(job, vm_size=self._size(job))
            computes = {SERVERLESS: preflight.Compute(job.vm_size or "", None)}
        else:
            targets = ask("the compute targets of the workspace", lambda: list(self._azure.compute.list()))
            computes = {target.name: _compute(target) for target in targets}
        job = replace(job, gpu=preflight.check_compute(job, computes, self.workspace))
        job = replace(job, environment=self._named_environment(job))
        place: Any = job.data
        if isinstance(job.data, DataAsset):
            version, place = self._asset(job.data)
            job = replace(job, data=job.data._replace(version=version))
        if isinstance(place, DatastorePath):
            job = replace(job, data_is_archive=preflight.check_data(self.datastore(place.datastore), place))
        return job

    def submit(self, job: Job, snapshot: Snapshot) -> "_RunV2":
        """Send the snapshot, make the environment where it is new and start the job."""
        git_address.hide_passwords()
        with tempfile.TemporaryDirectory(prefix="snapshot-") as folder:
            snapshot.copy_to(Path(folder))
            sent = _read(sdk_v2_definition.as_yaml(sdk_v2_definition.define(job, folder)))
            if not job.environment.name:
                # By a name made of its content, in version 1: one request, whether or not it is there.
                name = job.environment.built_name(job.uses_gpu)
                sent.environment = Environment(name=name, version="1", **sdk_v2_definition.built(job))
            experiment = re.sub(r"[^A-Za-z0-9]+", "-", job.experiment)[:200]
            sent.name = f"{experiment}_{int(time.time())}_{secrets.token_hex(4)}"
            started = self._start(sent, f"submission to experiment {job.experiment}")
        return _RunV2(self._azure, self._history, started.name, started.display_name or "", started.studio_url)

    def _start(self, sent: Any, what: str) -> Any:
        """Start a job; where the answer is lost, look for it by its name, which was chosen on this side."""
        jobs = self._azure.jobs
        try:
            # It prints the progress of the upload, even if told not to.
            with explained(what), contextlib.redirect_stderr(io.StringIO()):
                return jobs.create_or_update(sent)
        except UserError as error:
            if not answer_was_lost(error):
                raise
            try:
                started = find(f"run {sent.name}", lambda: jobs.get(sent.name))
            except UserError:
                raise UserError(f"{error}; it may have been started: make watch RUN={sent.name}") from error
            if started is None:
                raise
            return started

    def runs(self, experiment: str, number: int) -> "list[_RunV2]":
        """Return the latest runs of an experiment, at most `number`."""
        names = self._history.experiments()
        if experiment not in names:
            raise not_there(f"experiment {experiment!r}", self.workspace, names, "`make submit` makes it")
        return [self._run(known) for known in self._history.runs(experiment, number)]

    def open(self, run_id: str) -> "_RunV2":
        """Return the run with this id."""
        return self._run(self._history.run(run_id))

    def datastore(self, name: str | None) -> BlobStore:
        """Return a datastore; None: the workspace's own."""
        what, stores = "the datastores of the workspace", self._azure.datastores
        default = partial(stores.get_default, include_secrets=True)
        store = find(what, lambda: stores.get(name, include_secrets=True) if name else default())
        if store is None:
            names = ask(what, lambda: [str(each.name) for each in stores.list()])
            raise not_there(f"datastore {name!r}", self.workspace, names)
        if not isinstance(store, AzureBlobDatastore):
            return BlobStore(str(store.name), None, ContentSettings)
        key = getattr(store.credentials, "account_key", None) or getattr(store.credentials, "sas_token", None)
        # Without a key the workspace keeps none: whoever asks needs a role of the storage account.
        url = f"{store.protocol}://{store.account_name}.blob.{store.endpoint}"
        container = ContainerClient(url, store.container_name, credential=key or self._credential, **BOUNDED)
        return BlobStore(str(store.name), container, ContentSettings)

    def make_asset(self, name: str, version: str, place: DatastorePath) -> str:
        """Register a folder of a datastore as a data asset, where it is new; return its address."""
        path = f"azureml://datastores/{place.datastore}/paths/{place.path}/"
        asset = Data(name=name, version=version, type="uri_folder", path=path)
        ask(f"the data asset {name}", lambda: self._azure.data.create_or_update(asset))
        return f"azureml:{name}:{version}"

    def _run(self, known: dict[str, Any]) -> "_RunV2":
        studio = f"https://ml.azure.com/runs/{known['runId']}?wsid={self._history.scope}"
        return _RunV2(self._azure, self._history, known["runId"], known.get("displayName") or "", studio)

    def _size(self, job: Job) -> str | None:
        """Return the size of the machines of a serverless job, as Azure spells it; a UserError for an unknown one."""
        if not job.vm_size:
            return None
        sizes = ask("the sizes of machines", lambda: [size.name for size in self._azure.compute.list_sizes()])
        for size in sizes:
            if size.lower() == job.vm_size.lower():
                return str(size)
        raise UserError(
            f"no VM size {job.vm_size!r} in the region of {self.workspace}; near names: {near(job.vm_size, sizes)}"
        )

    def _named_environment(self, job: Job) -> Any:
        """Return the environment that a job names, of the workspace with its version."""
        spec, known, place = job.environment, self._azure.environments, f"workspace {self.workspace}"
        if not spec.name:
            return spec
        name, version = spec.name, spec.version
        if spec.in_registry:
            registry, name, version = in_registry(spec.name)
            place = f"registry {registry}"
            azure = find(place, lambda: MLClient(self._credential, registry_name=registry, **_bounded()))
            if azure is None:
                raise UserError(f"no {place}; check the address {spec.name}")
            known = azure.environments
        found = self._find(f"environment {name}", known.get, name, version)
        if found is None:
            raise self._unknown("environment", name, version, known.list, place)
        return spec if spec.in_registry else replace(spec, version=found.version)

    def _asset(self, data: DataAsset) -> tuple[str, DatastorePath | None]:
        """Return the version of a data asset and where it lies, as far as that is a datastore."""
        found = self._find(f"data asset {data.name}", self._azure.data.get, data.name, data.version)
        if found is None:
            here = f"workspace {self.workspace}"
            raise self._unknown("data asset", data.name, data.version, self._azure.data.list, here)
        if found.type != "uri_folder":
            raise UserError(f"{data} is a {found.type}, not a folder; `make upload-data SDK=v2 DATA=FOLDER` makes one")
        path = _DATASTORE_PATH.fullmatch(found.path or "")
        return found.version, DatastorePath(*path.groups()) if path else None

    def _find(self, what: str, get: Callable[..., Any], name: str, version: str | None) -> Any:
        return find(what, lambda: get(name, version=version) if version else get(name, label="latest"))

    def _unknown(
        self, kind: str, name: str, version: str | None, listed: Callable[..., Iterable[Any]], place: str
    ) -> UserError:
        names = ask(f"the {kind}s of {place}", lambda: [known.name for known in listed()])
        if name in names and version:
            versions = ask(f"the versions of {kind} {name}", lambda: [str(known.version) for known in listed(name)])
            return UserError(f"no {kind} {name!r} in version {version} in {place}; there is: {', '.join(versions[:5])}")
        hint = "; `make upload-data SDK=v2 DATA=FOLDER` makes one" if kind == "data asset" else ""
        return UserError(f"no {kind} {name!r} in {place}; near names: {near(name, names)}{hint}")


class _RunV2:
    """A submitted run; see `scripts.azure.submitter.RunHandle`."""

    def __init__(self, azure: MLClient, history: History, run_id: str, display_name: str, studio_url: str) -> None:
        self._azure, self._history = azure, history
        self.id, self.display_name, self.studio_url = run_id, display_name, studio_url

    def details(self) -> RunDetails:
        return self._history.details(self.id)

    def log(self, name: str, offset: int = 0) -> bytes:
        return self._history.log(self.id, name, offset)

    def cancel(self) -> None:
        ask(f"cancelling run {self.id}", lambda: self._azure.jobs.begin_cancel(self.id, polling=False))

    def metrics(self, names: Sequence[str] | None = None) -> Curves:
        return self._history.metrics(self.id, names)

    def files(self) -> list[str]:
        return list(self._history.artifacts(self.id))

    def download(self, folder: Path) -> None:
        self._history.download(self.id, "outputs/", folder)

    def register_model(self, name: str, path: str) -> str:
        kind = "custom_model" if path.endswith(".ckpt") else "mlflow_model"
        model = Model(name=name, path=f"azureml://jobs/{self.id}/outputs/artifacts/paths/{path}", type=kind)
        with explained(f"registering {path} of run {self.id}"):
            return str(self._azure.models.create_or_update(model).version)


def _read(text: str) -> Any:
    """Return a `job.yml` as the SDK reads it."""
    with explained("the definition of the job"):
        return load_job(io.StringIO(text))


def _compute(target: Any) -> preflight.Compute:
    return preflight.Compute(str(getattr(target, "size", "") or ""), getattr(target, "max_instances", None))


def _bounded() -> dict[str, Any]:
    """Return the options of a client that waits no longer than a minute for one answer."""
    return BOUNDED | {"retry_policy": _Retries(retry_total=1)}


def _sign_in(way: str) -> TokenCredential:
    """Return the credential of one way to sign in; azure-identity's default would try ten, for minutes."""
    bounded = BOUNDED | {"retry_total": 1}  # azure-identity makes its own policies
    if way == "service-principal":
        return ClientSecretCredential(*service_principal(), **bounded)
    if way == "managed-identity":
        return ManagedIdentityCredential(**bounded)
    if way == "cli":
        return AzureCliCredential(process_timeout=60)
    return InteractiveBrowserCredential(**bounded)
