"""Which run the metrics belong to: known without importing an SDK, opened where it is really needed."""

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning_cifar.azure import backends
from lightning_cifar.errors import UserError

_CONFIG_KEYS = ("subscription_id", "resource_group", "workspace_name")


@dataclass(frozen=True)
class RunAddress:
    """Names a run of a workspace.

    `interactive`: the logger itself starts this run, from a laptop, and ends it; otherwise its owner does.
    `child`: the record is that of a process that got the logger from the one that made it, and that ends it.
    `tracking_uri`: where MLflow finds it, `azureml://…` or `http://…`; "": not known, or not by MLflow.
    """

    run_id: str
    experiment: str
    workspace: str
    resource_group: str
    subscription_id: str
    interactive: bool = False
    child: bool = False
    tracking_uri: str = ""

    @classmethod
    def of_job(cls) -> "RunAddress | None":
        """Return the run of the job that this process belongs to, from its variables; None outside a job."""
        run_id = os.environ.get("AZUREML_RUN_ID")
        if not run_id or run_id.startswith("OfflineRun"):
            return None
        return cls(
            run_id=run_id,
            experiment=os.environ.get("AZUREML_ARM_PROJECT_NAME", ""),
            workspace=os.environ.get("AZUREML_ARM_WORKSPACE_NAME", ""),
            resource_group=os.environ.get("AZUREML_ARM_RESOURCEGROUP", ""),
            subscription_id=os.environ.get("AZUREML_ARM_SUBSCRIPTION", ""),
            tracking_uri=_tracking_uri_of_job(),
        )

    @classmethod
    def of_run(cls, run: Any) -> "RunAddress | None":
        """Return the address of a `Run`; None for the offline run that `Run.get_context` makes up."""
        if str(run.id).startswith("OfflineRun"):
            return None
        workspace = run.experiment.workspace
        return cls(run.id, run.experiment.name, workspace.name, workspace.resource_group, workspace.subscription_id)

    @classmethod
    def new(cls, experiment: str, workspace: Any = None, tracking_uri: str = "") -> "RunAddress":
        """Name a run that does not exist yet; it is started when it is opened. For `workspace` see `AzureMLLogger`.

        Raises:
            UserError: the workspace's config is missing, not JSON, or lacks a key.
        """
        if tracking_uri:
            return cls(str(uuid.uuid4()), experiment, "", "", "", interactive=True, tracking_uri=tracking_uri)
        if hasattr(workspace, "subscription_id"):
            config = (workspace.subscription_id, workspace.resource_group, workspace.name)
        else:
            config = read_config(find_config(Path(workspace or ".")))
        subscription_id, resource_group, name = config
        return cls(str(uuid.uuid4()), experiment, name, resource_group, subscription_id, interactive=True)

    @classmethod
    def of_mlflow(cls, run: Any, experiment: str | None, tracking_uri: str) -> "RunAddress | None":
        """Return the address of a server's run, which its owner ends: `run`, MLflow's or its id, or MLFLOW_RUN_ID's.

        Raises:
            UserError: `run` is an id, and no server is named.
        """
        run_id = getattr(getattr(run, "info", None), "run_id", run) or os.environ.get("MLFLOW_RUN_ID")
        if not isinstance(run_id, str):
            return None  # it is SDK v1's
        if tracking_uri:
            name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lightning_logs"
            return cls(run_id, name, "", "", "", tracking_uri=tracking_uri)
        if run is not None:
            raise UserError(f"run={run_id!r} is the id of a run of MLflow's: name its server, workspace='http://…'")
        return None

    @property
    def in_its_job(self) -> bool:
        """Whether this process belongs to the job whose run it is: then the job owns the run's status."""
        return os.environ.get("AZUREML_RUN_ID") == self.run_id

    @property
    def ended_here(self) -> bool:
        """Whether the process whose record this is gives the run its status."""
        return self.interactive and not self.child

    @property
    def service(self) -> str:
        """What the run is kept by, for a person: Azure ML, or a server's address."""
        return self.tracking_uri if self.tracking_uri.startswith("http") else "Azure ML"


class RunProxy:
    """Stands for the SDK's own run until one of its attributes is used: only then is the SDK imported.

    Lightning reads `logger.experiment` at every `fit`; the import alone would cost a second, 100 MB and a thread.
    Without an address there is no run: any method can be called, and does nothing. It is no `DummyExperiment`: by that,
    callbacks recognise the processes that log nothing.

    Raises:
        UserError: the SDK is not installed.
    """

    def __init__(self, address: RunAddress | None, backend: str, run: Any = None, workspace: Any = None) -> None:
        if address is not None:
            backends.require(backend, address.tracking_uri)
        self._address, self._backend, self._run, self._workspace = address, backend, run, workspace

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._address is None:
            return lambda *args, **kwargs: None
        if self._run is None:
            backend = backends.load(self._backend, self._address.tracking_uri)
            self._run = backend.open_run(self._address, self._workspace)
        return getattr(self._run, name)


def tracking_uri_of(workspace: Any, backend: str) -> str:
    """Return the address of the MLflow service that `AzureMLLogger`'s arguments name, or MLFLOW_TRACKING_URI; or "".

    Raises:
        UserError: it is no such address, or holds a password, which would be written into the record.
    """
    if workspace is None and backend == "mlflow":
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    else:
        uri = workspace if isinstance(workspace, str) and "://" in workspace else ""
    if not uri:
        return ""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https", "azureml") or not parts.hostname:
        raise UserError(f"{uri!r} is no address of an MLflow server: begin it with http://, https:// or azureml://")
    if parts.username or parts.password:
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise UserError(
            f"the address {shown} must hold no password, it is written to disk: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead"
        )
    return parts._replace(query="").geturl().rstrip("/")


def _tracking_uri_of_job() -> str:
    """Return the tracking URI that the job names, if it is its own workspace's; metrics must go to no other."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").split("?")[0]
    own = f"/workspaces/{os.environ.get('AZUREML_ARM_WORKSPACE_NAME', '')}"
    return uri if uri.startswith(backends.AZURE_SCHEME) and uri.lower().endswith(own.lower()) else ""


def find_config(start: Path, instead: str = "pass workspace=") -> Path:
    """Return the workspace's config.json: `start`, or in that folder or above, as `Workspace.from_config` finds it.

    Raises:
        UserError: there is none.
    """
    if start.is_file():
        return start
    for folder in (".azureml", "aml_config", ""):
        for parent in (start.resolve(), *start.resolve().parents):
            if (parent / folder / "config.json").is_file():
                return parent / folder / "config.json"
    raise UserError(
        f"no config.json of an Azure ML workspace in {start.resolve()} or above: download it from the "
        f"workspace's page in Azure ML Studio, or {instead}"
    )


def read_config(path: Path) -> tuple[str, str, str]:
    """Return subscription id, resource group and name of the workspace that a config.json names.

    Raises:
        UserError: it is missing, not JSON, or lacks a key.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; download it from the workspace's page in Studio") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not the JSON of an Azure ML workspace ({error}): download it again") from error
    subscription_id, resource_group, workspace = values = [str(config.get(key) or "").strip() for key in _CONFIG_KEYS]
    if missing := [key for key, value in zip(_CONFIG_KEYS, values, strict=True) if not value]:
        raise UserError(f"{path} lacks {', '.join(missing)}: download it again from the workspace's page in Studio")
    return subscription_id, resource_group, workspace


def sign_in_variables(owner: Any) -> dict[str, str]:
    """Return the environment variables with which another process signs in as `owner` does.

    Only a service principal handed over in code has to be passed on; every other way of signing in (the job's token,
    the Azure CLI, a managed identity, the browser's cached answer) works in another process as it is.

    Args:
        owner: an `azureml.core.Workspace` or `Run`; anything else has no variables.
    """
    workspace = getattr(getattr(owner, "experiment", None), "workspace", owner)
    auth: Any = getattr(workspace, "_auth_object", None)
    if type(auth).__name__ != "ServicePrincipalAuthentication":
        return {}
    return {
        "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": auth._tenant_id,
        "AZUREML_SERVICE_PRINCIPAL_ID": auth._service_principal_id,
        "AZUREML_SERVICE_PRINCIPAL_PASSWORD": auth._service_principal_password,
    }
