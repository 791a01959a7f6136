"""Submitting with SDK v1 (azureml-core): the only file that knows how; another submitter can stand beside it.

`define` needs no account and talks to nobody; `check` and `submit` need a workspace.
"""

import difflib
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cifar.errors import UserError
from scripts.azure import git_address
from scripts.azure.job import DatastorePath, Job
from scripts.azure.service_errors import explained, retried, status
from scripts.azure.snapshot import Snapshot

if TYPE_CHECKING:
    from azureml.core import Environment, Run, ScriptRunConfig, Workspace
    from azureml.data.abstract_datastore import AbstractDatastore

DATA_NAME = "training_data"
DATA_FOLDER = f"$AZUREML_DATAREFERENCE_{DATA_NAME}"
"""What stands for the folder of a `DatastorePath` in a command; the job replaces it."""

_ARCHIVE = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
_SHARED_MEMORY = "2g"
"""/dev/shm of the job's container; Docker's own 64 MB are too few for NCCL and loader processes."""


def define(job: Job, folder: Path, gpu: bool, environment: "Environment | None" = None) -> "ScriptRunConfig":
    """Describe a job to the SDK.

    Args:
        job: what is to be run.
        folder: the snapshot.
        gpu: whether the nodes have GPUs.
        environment: as the workspace knows it; None: made from the job's recipe.
    """
    from azureml.core import ScriptRunConfig
    from azureml.core.runconfig import DataReferenceConfiguration, DockerConfiguration, PyTorchConfiguration

    processes = None
    if job.distributed:
        nodes = job.nodes or 1
        processes = PyTorchConfiguration(
            communication_backend="Nccl" if gpu else "Gloo",
            process_count=nodes * (job.devices or 1),
            node_count=nodes,
        )
    limit = {} if job.max_seconds is None else {"max_run_duration_seconds": job.max_seconds}
    config = ScriptRunConfig(
        source_directory=str(folder),
        command=job.command(DATA_FOLDER),
        compute_target=job.compute,
        environment=environment or build_environment(job, gpu),
        distributed_job_config=processes,
        docker_runtime_config=DockerConfiguration(use_docker=True, shm_size=_SHARED_MEMORY),
        **limit,
    )
    config.run_config.priority = job.priority
    if isinstance(job.data, DatastorePath):
        config.run_config.data_references[DATA_NAME] = DataReferenceConfiguration(
            datastore_name=job.data.datastore, path_on_datastore=job.data.path, mode=job.data_mode
        )
    return config


def build_environment(job: Job, gpu: bool) -> "Environment":
    """Turn the job's recipe into the SDK's terms."""
    from azureml.core import Environment

    from scripts.azure.environment import PYTHON_VERSION

    recipe = job.environment
    if recipe.name:
        environment = Environment(recipe.name)
        environment.version = recipe.version
        return environment
    name = recipe.built_name(gpu)
    if recipe.conda:
        environment = Environment.from_conda_specification(name, str(recipe.conda))
    else:
        environment = Environment(name)
        packages = environment.python.conda_dependencies
        packages.set_pip_requirements(recipe.packages())  # as Environment.from_pip_requirements, less the comments
        packages.add_conda_package("pip")
        packages.set_python_version(PYTHON_VERSION)
    environment.docker.base_image = recipe.base_image(gpu)
    return environment


def as_yaml(config: "ScriptRunConfig") -> str:
    """Write the whole run definition as YAML, as the SDK saves it, and the packages of its environment."""
    import yaml
    from azureml.core.script_run_config import get_run_config_from_script_run

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".azureml").mkdir()  # where it goes if it is there; else the SDK invents a place
        definition = get_run_config_from_script_run(config)
        definition.save(path=folder, name="run", separate_environment_yaml=False)
        saved = yaml.safe_load(Path(folder, ".azureml", "run").read_text(encoding="utf-8"))
    packages = yaml.safe_load(config.run_config.environment.python.conda_dependencies.serialize_to_string())
    saved["environment"]["python"]["condaDependencies"] = packages
    return yaml.safe_dump(saved, sort_keys=False, width=1000)


def check(workspace: "Workspace", job: Job) -> tuple[Job, bool]:
    """Ask the workspace for what the job names.

    Returns: the job as it will run, and whether its nodes have GPUs.

    Raises:
        UserError: there is no such compute, datastore or path, or no GPU where one is asked for.
    """
    gpu = _check_compute(workspace, job)
    if isinstance(job.data, DatastorePath):
        job = replace(job, data_is_archive=_check_data(workspace, job.data))
    return job, gpu


def _check_compute(workspace: "Workspace", job: Job) -> bool:
    with explained("the compute targets of the workspace"):
        targets = retried(lambda: workspace.compute_targets)
    if job.compute not in targets:
        there = ", ".join(sorted(targets)) or "none; the README shows how to make one"
        raise UserError(f"no compute {job.compute!r} in workspace {workspace.name}; there is: {there}")
    most = getattr(getattr(targets[job.compute], "scale_settings", None), "maximum_node_count", None)
    if most is not None and (job.nodes or 1) > most:
        raise UserError(f"compute {job.compute} has at most {most} nodes, fewer than NODES={job.nodes}; use {most}")
    size = str(getattr(targets[job.compute], "vm_size", "") or "")
    gpu = has_gpu(size)
    if job.wants_gpu and size and not gpu:
        with_gpu = [name for name, target in targets.items() if has_gpu(str(getattr(target, "vm_size", "")))]
        there = ", ".join(sorted(with_gpu)) or "none"
        raise UserError(f"compute {job.compute} ({size}) has no GPU, as ACCELERATOR=gpu needs; with GPU: {there}")
    return (gpu or (job.wants_gpu and not size)) and job.accelerator != "cpu"


def has_gpu(vm_size: str) -> bool:
    """Tell by the name of a size: Azure's N series has GPUs, but for NP (FPGAs)."""
    family = vm_size.lower().removeprefix("standard_")
    return family.startswith("n") and not family.startswith("np")


def find_datastore(workspace: "Workspace", name: str | None) -> "AbstractDatastore":
    """Open a datastore; None: the workspace's own.

    Raises:
        UserError: there is none of that name.
    """
    from azureml.core import Datastore

    with explained("the datastores of the workspace"):
        try:
            return retried(lambda: Datastore.get(workspace, name) if name else workspace.get_default_datastore())
        except Exception as error:
            if status(error) != 404 and not re.search(r"not (be )?f(ind|ound)", str(error), re.IGNORECASE):
                raise
        there = ", ".join(sorted(workspace.datastores))
    raise UserError(f"no datastore {name!r} in workspace {workspace.name}; there is: {there}")


def _check_data(workspace: "Workspace", data: DatastorePath) -> bool:
    """Whether the path holds the official archive; images otherwise."""
    datastore = find_datastore(workspace, data.datastore)
    if not hasattr(datastore, "blob_service"):
        return False  # a file share or data lake: the job will see
    with explained(f"the content of {data}"):
        container = datastore.blob_service.get_container_client(datastore.container_name)
        found = next(iter(container.list_blobs(name_starts_with=f"{data.path}/", results_per_page=1)), None)
        if found is None:
            raise UserError(f"nothing at {data}; `make upload-data DATA=FOLDER` puts a folder there, check the path")
        return any(
            next(iter(container.list_blobs(name_starts_with=f"{data.path}/{name}", results_per_page=1)), None)
            is not None
            for name in _ARCHIVE
        )


def find_environment(workspace: "Workspace", job: Job, gpu: bool) -> "Environment":
    """Fetch the environment that the job names, or make the one of its recipe where it is new.

    Raises:
        UserError: the workspace knows no such environment.
    """
    from azureml.core import Environment

    recipe = job.environment
    name = recipe.name or recipe.built_name(gpu)
    with explained(f"environment {name}"):
        try:
            return retried(lambda: Environment.get(workspace, name, version=recipe.version))
        except Exception as error:
            if status(error) != 404:
                raise
        if not recipe.name:
            return build_environment(job, gpu).register(workspace)
        known = retried(lambda: list(Environment.list(workspace)))
    version = f" in version {recipe.version}" if recipe.version else ""
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    near += [other for other in known if name.lower() in other.lower() and other not in near]
    raise UserError(
        f"no environment {name!r}{version} in workspace {workspace.name}; "
        f"near names: {', '.join(near[:8]) or 'none'}; "
        f"without --environment one is built from requirements.txt"
    )


def submit(workspace: "Workspace", job: Job, snapshot: Snapshot, gpu: bool) -> "Run":
    """Send the snapshot and start the job.

    Raises:
        UserError: the service refuses, fails or cannot be reached.
    """
    from azureml.core import Experiment

    environment = find_environment(workspace, job, gpu)
    git_address.hide_passwords()
    with tempfile.TemporaryDirectory(prefix="snapshot-") as folder:
        snapshot.copy_to(Path(folder))
        with explained(f"submission to experiment {job.experiment}"):
            run: Run = Experiment(workspace, job.experiment).submit(define(job, Path(folder), gpu, environment))
    with explained(f"name and tags of run {run.id}, which is submitted"):
        if job.display_name:
            run.display_name = job.display_name
        if job.tags:
            run.set_tags(job.tags)
    return run
