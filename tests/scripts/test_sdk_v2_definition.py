"""The `job.yml` that SDK v2's dry run prints, read by azure-ai-ml itself."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts.azure.environment import EnvironmentSpec, read_named
from scripts.azure.job import DataAsset, DatastorePath, Job
from scripts.azure.sdk_v2_definition import as_yaml, define

PACKAGES = EnvironmentSpec(packages=("torch==2.11.0", "rich"))
JOB = Job(("--trainer.max_epochs", "1"), PACKAGES, tags={"owner": "me"}, display_name="a try", max_seconds=5400)


def load(job: Job) -> Any:
    """Return a job as `az ml job create -f` would read it."""
    from azure.ai.ml import load_job  # only where it is used: it takes a second

    return load_job(io.StringIO(as_yaml(define(job))))


def test_a_job_is_read_as_it_was_meant() -> None:
    job = load(JOB)

    assert job.command.endswith("--data.source cifar10 --trainer.max_epochs 1")
    assert (job.experiment_name, job.display_name, job.tags) == ("cifar10", "a try", {"owner": "me"})
    assert (job.compute, job.code, job.limits.timeout) == ("cpu-cluster", ".", 5400)
    assert (job.resources.instance_count, job.resources.shm_size) == (1, "2g")
    assert job.distribution is None
    assert job.environment.conda_file == {"dependencies": ["python=3.11", {"pip": ["torch==2.11.0", "rich"]}, "pip"]}
    assert job.environment.image == PACKAGES.base_image(gpu=False)


def test_processes_are_counted_per_node() -> None:
    job = load(replace(JOB, nodes=2, devices=4))

    assert (job.resources.instance_count, job.distribution.process_count_per_instance) == (2, 4)


def test_serverless_machines_have_a_size_instead_of_a_cluster() -> None:
    job = load(replace(JOB, compute="serverless", vm_size="Standard_NC6s_v3", priority=1))

    assert (job.compute, job.resources.instance_type) == (None, "Standard_NC6s_v3")
    assert job.queue_settings.priority == "low"


@pytest.mark.parametrize(
    ("data", "mode", "path", "read_mode"),
    [
        (DatastorePath("store", "a/b"), "mount", "azureml://datastores/store/paths/a/b/", "ro_mount"),
        (DataAsset("images", "3"), "download", "images:3", "download"),
        (DataAsset("images", None), "mount", "images@latest", "ro_mount"),
    ],
)
def test_data_of_the_workspace_is_an_input_that_the_command_names(data, mode, path, read_mode) -> None:
    job = load(replace(JOB, data=data, data_mode=mode))

    given = job.inputs["training_data"]._data
    assert (given.type, given.path.removeprefix("azureml:"), given.mode) == (
        "uri_folder",
        path.removeprefix("azureml:"),
        read_mode,
    )
    assert "--data.source ${{inputs.training_data}} " in job.command


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("mine:3", "mine:3"),
        ("mine", "mine@latest"),
        ("azureml://registries/azureml/environments/acpt/versions/1",) * 2,
        ("azureml://registries/azureml/environments/acpt/labels/latest",) * 2,
    ],
)
def test_environments_that_are_there_are_named_by_their_address(named: str, address: str) -> None:
    assert load(replace(JOB, environment=EnvironmentSpec(*read_named(named)))).environment == address


def test_a_conda_file_comes_along_whole(tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies:\n- python=3.12\n- pip:\n  - torch==2.11.0\n")

    job = load(replace(JOB, environment=EnvironmentSpec(conda=tmp_path / "conda.yml", image="mine"), gpu=True))

    assert job.environment.conda_file == {"dependencies": ["python=3.12", {"pip": ["torch==2.11.0"]}]}
    assert job.environment.image == "mine"


def test_a_service_that_asks_for_patience_is_not_waited_for_longer_than_half_a_minute() -> None:
    from scripts.azure.sdk_v2 import _Retries

    def pause(seconds: str) -> float | None:
        return _Retries().get_retry_after(Mock(http_response=Mock(headers={"Retry-After": seconds})))

    assert (pause("3"), pause("3600")) == (3, 30)


def test_a_priority_that_sdk_v2_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match=r"--priority 7: SDK v2 knows 1 \(low\), 2 \(medium\), 3 \(high\)"):
        define(replace(JOB, priority=7))
