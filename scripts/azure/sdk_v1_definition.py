"""Define a job in the terms of SDK v1 (azureml-core), without a request."""

import tempfile
from pathlib import Path

import yaml
from azureml.core import Environment, ScriptRunConfig
from azureml.core.runconfig import DataReferenceConfiguration, DockerConfiguration, PyTorchConfiguration
from azureml.core.script_run_config import get_run_config_from_script_run

from scripts.azure.job import DatastorePath, Job

DATA_NAME = "training_data"
DATA_FOLDER = f"$AZUREML_DATAREFERENCE_{DATA_NAME}"
"""What stands for the folder of a `DatastorePath` in a command; the job replaces it."""

_SHARED_MEMORY = "2g"
"""/dev/shm of the job's container; Docker's own 64 MB are too few for NCCL and loader processes."""


def define(job: Job, folder: Path, environment: Environment) -> ScriptRunConfig:
    """Return what the SDK submits: the job, its snapshot's folder and its environment."""
    processes = None
    if job.distributed:
        nodes = job.nodes or 1
        backend = "Nccl" if job.uses_gpu else "Gloo"
        processes = PyTorchConfiguration(backend, process_count=nodes * (job.devices or 1), node_count=nodes)
    limit = {} if job.max_seconds is None else {"max_run_duration_seconds": job.max_seconds}
    config = ScriptRunConfig(
        source_directory=str(folder),
        command=job.command(DATA_FOLDER),
        compute_target=job.compute,
        environment=environment,
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


def build_environment(job: Job) -> Environment:
    """Return the environment that a job's `EnvironmentSpec` describes."""
    spec = job.environment
    if spec.name:
        environment = Environment(spec.name)
        environment.version = spec.version
        return environment
    name = spec.built_name(job.uses_gpu)
    if spec.conda:
        environment = Environment.from_conda_specification(name, str(spec.conda))
    else:
        environment = Environment(name)
        packages = environment.python.conda_dependencies
        packages.set_pip_requirements(list(spec.packages))  # as Environment.from_pip_requirements, less the comments
        packages.add_conda_package("pip")
        packages.set_python_version(spec.python)
    environment.docker.base_image = spec.base_image(job.uses_gpu)
    return environment


def as_yaml(job: Job, config: ScriptRunConfig) -> str:
    """Return the whole run definition as YAML, as the SDK saves it, and what else a job says of its run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".azureml").mkdir()  # where it goes if it is there; else the SDK invents a place
        definition = get_run_config_from_script_run(config)
        definition.save(path=folder, name="run", separate_environment_yaml=False)
        saved = yaml.safe_load(Path(folder, ".azureml", "run").read_text(encoding="utf-8"))
    packages = yaml.safe_load(config.run_config.environment.python.conda_dependencies.serialize_to_string())
    saved["environment"]["python"]["condaDependencies"] = packages
    about = {"experiment": job.experiment, "display_name": job.display_name, "tags": job.tags}
    return yaml.safe_dump(about | saved, sort_keys=False, width=1000)
