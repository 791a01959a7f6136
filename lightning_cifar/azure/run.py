"""Which run the metrics belong to: known without importing azureml, opened where it is really needed."""

import contextlib
import json
import os
import sys
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_cifar.errors import UserError

_PIP = "pip install azureml-core"
_CONFIG_KEYS = ("subscription_id", "resource_group", "workspace_name")


@dataclass(frozen=True)
class RunAddress:
    """Names a run of a workspace.

    `interactive`: the logger itself starts this run, from a laptop, and ends it; otherwise its owner does.
    `child`: the record is that of a process that got the logger from the one that made it, and that ends it.
    """

    run_id: str
    experiment: str
    workspace: str
    resource_group: str
    subscription_id: str
    interactive: bool = False
    child: bool = False

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
        )

    @classmethod
    def of_run(cls, run: Any) -> "RunAddress | None":
        """Return the address of a `Run`; None for the offline run that `Run.get_context` makes up."""
        if str(run.id).startswith("OfflineRun"):
            return None
        workspace = run.experiment.workspace
        return cls(run.id, run.experiment.name, workspace.name, workspace.resource_group, workspace.subscription_id)

    @classmethod
    def new(cls, experiment: str, workspace: Any = None) -> "RunAddress":
        """Name a run that does not exist yet; it is started when it is opened.

        Args:
            experiment: the experiment it will belong to; made if new.
            workspace: an `azureml.core.Workspace`, or the path of a `config.json` or of its folder; None:
                found from the current folder upwards, as `Workspace.from_config` finds it.

        Raises:
            UserError: the workspace's config is missing, not JSON, or lacks a key.
        """
        if hasattr(workspace, "subscription_id"):
            config = (workspace.subscription_id, workspace.resource_group, workspace.name)
        else:
            config = read_config(find_config(Path(workspace or ".")))
        subscription_id, resource_group, name = config
        return cls(str(uuid.uuid4()), experiment, name, resource_group, subscription_id, interactive=True)

    def same_workspace(self, other: "RunAddress") -> bool:
        """Whether both runs belong to one workspace."""
        ours, theirs = ((one.subscription_id, one.resource_group, one.workspace) for one in (self, other))
        return ours == theirs

    @property
    def in_its_job(self) -> bool:
        """Whether this process belongs to the job whose run it is: then the job owns the run's status."""
        return os.environ.get("AZUREML_RUN_ID") == self.run_id

    @property
    def ended_here(self) -> bool:
        """Whether the process whose record this is gives the run its status."""
        return self.interactive and not self.child

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def open(self, workspace: Any = None) -> Any:
        """Return the real `azureml.core.Run`; an interactive run that does not exist yet is started.

        Args:
            workspace: the `azureml.core.Workspace`, if it is at hand, with the sign-in that it was made with.

        Raises:
            UserError: azureml-core is not installed, or cannot be imported.
            Exception: whatever the SDK raises if the service does not answer.
        """
        import_azureml()
        from azureml.core import Experiment, Run, Workspace

        job = self.of_job()
        if self.in_its_job:
            return Run.get_context(allow_offline=False)
        if workspace is None and job is not None and job.same_workspace(self):
            # A child run, for instance. The job's token is good for its workspace, and nobody is there to sign in.
            workspace = Run.get_context(allow_offline=False).experiment.workspace
        workspace = workspace or Workspace.get(
            self.workspace, subscription_id=self.subscription_id, resource_group=self.resource_group
        )
        try:
            return workspace.get_run(self.run_id)
        except Exception as error:
            if not self.interactive or status_of(error) != 404:
                raise
        # The SDK writes the address of the git remote of the current folder into the run's properties as it
        # stands, with any token in it: start the run from a folder that belongs to no repository.
        with contextlib.chdir("/"):
            experiment = Experiment(workspace, self.experiment)
            return experiment.start_logging(run_id=self.run_id, outputs=False, snapshot_directory=None)


class RunProxy:
    """Stands for the real `Run` until one of its attributes is used: only then is azureml imported.

    Lightning reads `logger.experiment` at every `fit`; the import alone would cost a second, 100 MB and a
    thread.
    """

    def __init__(self, address: RunAddress, run: Any = None, workspace: Any = None) -> None:
        self.__dict__.update(_address=address, _run=run, _workspace=workspace)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__dict__["_run"] is None:
            self.__dict__["_run"] = self.__dict__["_address"].open(self.__dict__["_workspace"])
        return getattr(self.__dict__["_run"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ = self.id
        setattr(self.__dict__["_run"], name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {"_address": self.__dict__["_address"], "_run": None, "_workspace": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__dict__['_address'].run_id!r})"


def require_azureml() -> None:
    """Check, without importing it, that azureml-core is installed.

    Raises:
        UserError: it is not.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("azureml-core")
    except PackageNotFoundError:
        raise UserError(f"azureml-core is not installed, and AzureMLLogger needs it here: {_PIP}") from None


def import_azureml() -> None:
    """Import azureml-core, which costs a second and 100 MB.

    Raises:
        UserError: it is not installed, or cannot be imported: trying again is pointless.
    """
    require_azureml()
    try:
        import azureml.core  # noqa: F401
    except ImportError as error:
        raise not_importable(error) from error


def not_importable(error: ImportError) -> UserError:
    """Return what to tell about an azureml-core that is installed and lacks something: the SDK imports as it goes."""
    version = ".".join(map(str, sys.version_info[:2]))
    return UserError(f"azureml-core is installed, but Python {version} cannot import it ({error}): use Python 3.11")


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an exception of the SDK, also where another exception wraps it."""
    while error is not None:
        status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
    return None


def find_config(start: Path, instead: str = "pass workspace=") -> Path:
    """Return the workspace's config.json at `start`, or in its folder or above, as `Workspace.from_config` finds it.

    Args:
        start: the file itself, or the folder to begin at.
        instead: how else the workspace can be named, for the error.

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

    The portal's older form is read as well, which has the workspace's resource id as its `Scope`.

    Raises:
        UserError: it is missing, not JSON, or lacks a key.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; download it from the workspace's page in Studio") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not the JSON of an Azure ML workspace ({error}): download it again") from error
    scope = str(config.get("Scope", "")).split("/")  # /subscriptions/…/resourceGroups/…/providers/…/workspaces/…
    if len(scope) > 8:
        config = dict(zip(_CONFIG_KEYS, (scope[2], scope[4], scope[8]), strict=True))
    subscription_id, resource_group, workspace = values = [str(config.get(key) or "").strip() for key in _CONFIG_KEYS]
    if missing := [key for key, value in zip(_CONFIG_KEYS, values, strict=True) if not value]:
        raise UserError(f"{path} lacks {', '.join(missing)}: download it again from the workspace's page in Studio")
    return subscription_id, resource_group, workspace


def sign_in_variables(owner: Any) -> dict[str, str]:
    """Return the environment variables with which another process signs in as `owner` does.

    A service principal handed over in code is all that can be passed on; every other way of signing in (the
    job's token, the Azure CLI, a managed identity, the browser's cached answer) works in another process as
    it is.

    Args:
        owner: an `azureml.core.Workspace` or `Run`; anything else has no variables.
    """
    workspace = getattr(getattr(owner, "experiment", None), "workspace", owner)
    auth = getattr(workspace, "_auth_object", None)
    if auth is None or type(auth).__name__ != "ServicePrincipalAuthentication":
        return {}
    return {
        "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": auth._tenant_id,
        "AZUREML_SERVICE_PRINCIPAL_ID": auth._service_principal_id,
        "AZUREML_SERVICE_PRINCIPAL_PASSWORD": auth._service_principal_password,
    }
