"""A workspace through SDK v1 (azureml-core): sign in, check, submit, find runs; another SDK can stand beside it."""

import difflib
import logging
import os
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from azureml.core import Datastore, Environment, Experiment, Run, Workspace, authentication

from lightning_cifar.errors import UserError
from scripts.azure import git_address, preflight, sdk_v1_definition
from scripts.azure.job import DatastorePath, Job
from scripts.azure.sdk_v1_errors import ask, explained, find
from scripts.azure.sdk_v1_run import DatastoreV1, RunV1
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import not_there
from scripts.azure.workspace import SERVICE_PRINCIPAL, Address, azure_cli_token, choose_sign_in


class SubmitterV1:
    """A workspace; see `scripts.azure.submitter.Submitter`."""

    def __init__(self, azure: Workspace) -> None:
        self._azure = azure
        self.workspace: str = azure.name

    @staticmethod
    def describe(job: Job) -> str:
        """Return the definition of a job as YAML, as it would be sent; ask nobody."""
        environment = sdk_v1_definition.build_environment(job)
        return sdk_v1_definition.as_yaml(sdk_v1_definition.define(job, Path.cwd(), environment))

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

    def submit(self, job: Job, snapshot: Snapshot) -> RunV1:
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
        return RunV1(run)

    def runs(self, experiment: str, number: int) -> list[RunV1]:
        """Return the latest runs of an experiment, at most `number`."""
        what = f"the runs of experiment {experiment}"
        names = ask(what, lambda: {each.name for each in Experiment.list(self._azure)})
        if experiment not in names:
            raise not_there(f"experiment {experiment!r}", self.workspace, names)
        runs = ask(what, lambda: list(islice(Experiment(self._azure, experiment).get_runs(), number)))
        return [RunV1(run) for run in runs]

    def open(self, run_id: str) -> RunV1:
        """Return the run with this id."""
        return RunV1(ask(f"run {run_id}", lambda: Run.get(self._azure, run_id)))

    def datastore(self, name: str | None) -> DatastoreV1:
        """Return a datastore; None: the workspace's own."""
        what = "the datastores of the workspace"
        default = self._azure.get_default_datastore
        if store := find(what, lambda: Datastore.get(self._azure, name) if name else default()):
            return DatastoreV1(store)
        raise not_there(f"datastore {name!r}", self.workspace, ask(what, lambda: list(self._azure.datastores)))

    def _environment(self, job: Job) -> Environment:
        """Return the environment that a job names, or the one of its packages, registered where it is new.

        Raises:
            UserError: the workspace knows no such environment.
        """
        spec = job.environment
        name = spec.name or spec.built_name(job.uses_gpu)
        what = f"environment {name}"
        if environment := find(what, lambda: Environment.get(self._azure, name, version=spec.version)):
            return environment
        if not spec.name:
            with explained(what):
                return sdk_v1_definition.build_environment(job).register(self._azure)
        known = ask(what, lambda: list(Environment.list(self._azure)))
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        near += [other for other in known if name.lower() in other.lower() and other not in near]
        version = f" in version {spec.version}" if spec.version else ""
        raise UserError(
            f"no environment {name!r}{version} in workspace {self.workspace}; "
            f"near names: {', '.join(near[:8]) or 'none'}; "
            f"without --environment one is built from requirements.txt"
        )


def _compute(target: Any) -> preflight.Compute:
    most = getattr(getattr(target, "scale_settings", None), "maximum_node_count", None)
    return preflight.Compute(str(getattr(target, "vm_size", "") or ""), most)


def _sign_in(way: str) -> authentication.AbstractAuthentication:
    if way == "service-principal":
        return authentication.ServicePrincipalAuthentication(*(os.environ[variable] for variable in SERVICE_PRINCIPAL))
    if way == "managed-identity":
        return authentication.MsiAuthentication()
    if way == "cli":
        # The SDK's AzureCliAuthentication wants azure-cli in this Python; the command is enough.
        return authentication.TokenAuthentication(azure_cli_token)
    return authentication.InteractiveLoginAuthentication()
