"""Define a job in the terms of SDK v2: the `job.yml` that `az ml job create -f` takes; asks nobody and needs no SDK."""

from typing import Any

import yaml

from lightning_cifar.errors import UserError
from scripts.azure.environment import EnvironmentSpec, conda_text
from scripts.azure.job import SERVERLESS, DataAsset, DatastorePath, Job

DATA_NAME = "training_data"
DATA_FOLDER = f"${{{{inputs.{DATA_NAME}}}}}"
"""What stands for the folder of the data in a command; the job replaces it."""

_SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"
_MODES = {"download": "download", "mount": "ro_mount"}
_PRIORITIES = {1: "low", 2: "medium", 3: "high"}
_SHARED_MEMORY = "2g"  # Docker's own 64 MB of /dev/shm are too few for NCCL and loader processes


def define(job: Job, folder: str = ".") -> dict[str, Any]:
    """Return the content of a `job.yml`: the job, its snapshot's folder and its environment."""
    resources: dict[str, Any] = {"instance_count": job.nodes or 1, "shm_size": _SHARED_MEMORY}
    if job.vm_size:
        resources["instance_type"] = job.vm_size
    definition: dict[str, Any] = {
        "$schema": _SCHEMA,
        "type": "command",
        "experiment_name": job.experiment,
        "display_name": job.display_name,
        "tags": job.tags,
        "command": job.command(DATA_FOLDER),
        "code": folder,
        "environment": _environment(job),
        "compute": None if job.compute == SERVERLESS else f"azureml:{job.compute}",
        "resources": resources,
        "inputs": _inputs(job),
    }
    if job.distributed:
        # Per node, where SDK v1 counts all processes; which backend they talk by is theirs to choose.
        definition["distribution"] = {"type": "pytorch", "process_count_per_instance": job.devices or 1}
    if job.max_seconds is not None:
        definition["limits"] = {"timeout": job.max_seconds}
    if job.priority is not None:
        if job.priority not in _PRIORITIES:
            known = ", ".join(f"{number} ({name})" for number, name in _PRIORITIES.items())
            raise UserError(f"--priority {job.priority}: SDK v2 knows {known}; choose one of them")
        definition["queue_settings"] = {"priority": _PRIORITIES[job.priority]}
    return {key: value for key, value in definition.items() if value not in (None, {})}


def as_yaml(definition: dict[str, Any]) -> str:
    """Return a definition as the text of a `job.yml`."""
    text: str = yaml.safe_dump(definition, sort_keys=False, width=1000)
    return text


def built(job: Job) -> dict[str, Any]:
    """Return what the environment of a job is built from: base image and conda file, as SDK v2 names them."""
    spec = job.environment
    if spec.conda:
        packages = yaml.safe_load(conda_text(spec.conda))
    else:
        packages = {"dependencies": [f"python={spec.python}", {"pip": list(spec.packages)}, "pip"]}
    return {"image": spec.base_image(job.uses_gpu), "conda_file": packages}


def reference(spec: EnvironmentSpec) -> str:
    """Return the address of an environment that is there: in the workspace, or in a registry."""
    if spec.in_registry:
        return str(spec.name)
    return f"azureml:{spec.name}:{spec.version}" if spec.version else f"azureml:{spec.name}@latest"


def _environment(job: Job) -> dict[str, Any] | str:
    """Return the environment in place; submitting registers it by name, which a `job.yml` cannot."""
    return reference(job.environment) if job.environment.name else built(job)


def _inputs(job: Job) -> dict[str, Any]:
    if isinstance(job.data, DatastorePath):
        path = f"azureml://datastores/{job.data.datastore}/paths/{job.data.path}/"
    elif isinstance(job.data, DataAsset):
        path = str(job.data)
    else:
        return {}
    return {DATA_NAME: {"type": "uri_folder", "path": path, "mode": _MODES[job.data_mode]}}
