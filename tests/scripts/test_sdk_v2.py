"""What SDK v2 offers beyond v1: data assets, serverless machines, registries; and what only it could give away."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from scripts.emulator import Emulator
from scripts.emulator.pytest_plugin import strict_emulator
from tests.conftest import make_folder
from tests.scripts.command_lines import quick, with_sdk
from tests.scripts.conftest import make_project
from tests.sdk import Outcome

REGISTRY = "azureml://registries/azureml/environments/acpt-pytorch-2.8-cuda12.6"
Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    """An emulator that only keeps what is submitted; what it did not expect fails."""
    with strict_emulator() as service:
        yield service


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, service: Emulator) -> Path:
    """A project with a few images."""
    project = make_project(tmp_path_factory.mktemp("sdk-v2") / "project")
    service.write_config(project)
    make_folder(project / "my images", ("cat", "dog"), 1, 1)
    return project


@pytest.fixture(scope="module")
def run(service: Emulator, project: Path) -> Run:
    """Runs a command line with SDK v2."""
    environment = service.client_environment()

    def run(module: str, *args: str) -> Outcome:
        return quick(module, with_sdk(args, "v2"), project, environment)

    return run


@pytest.fixture(scope="module")
def version(run: Run) -> str:
    """The version of the images in the workspace."""
    uploaded = run("upload_data", "my images")
    assert uploaded.code == 0, uploaded
    return uploaded.out.strip().rpartition("DATA=azureml:my-images:")[2]


@pytest.mark.parametrize("mode", ["download", "mount"])
def test_the_latest_version_of_an_asset_is_the_one_at_the_submission(
    service: Emulator, run: Run, version: str, mode: str
) -> None:
    outcome = run("submit", "--data", "azureml:my-images@latest", "--data-mode", mode)

    assert outcome.code == 0, outcome
    definition = service.runs()[-1].definition
    assert definition is not None
    assert definition["job"]["inputs"]["training_data"]["uri"].endswith(f"/data/my-images/versions/{version}")
    given = {"dataStoreName": "workspaceblobstore", "pathOnDataStore": f"my-images/{version}", "mode": mode}
    assert definition["dataReferences"] == {"training_data": given}


def test_serverless_machines_are_submitted_to_by_their_size(service: Emulator, run: Run) -> None:
    flags = ("--compute", "serverless", "--vm-size", "standard_nc6s_v3", "--nodes", "2")

    outcome = run("submit", *flags, "--", "--trainer.accelerator", "gpu")

    assert outcome.code == 0, outcome
    definition = service.runs()[-1].definition
    assert definition is not None
    sent = definition["job"]
    assert "computeId" not in sent
    assert (sent["resources"]["instanceType"], sent["resources"]["instanceCount"]) == ("Standard_NC6s_v3", 2)
    assert "cuda" in definition["environment"]["docker"]["baseImage"]


@pytest.mark.parametrize("which", ["versions/5", "labels/latest"])
def test_an_environment_of_a_registry_is_asked_for_and_goes_into_the_job_as_it_is(
    service: Emulator, run: Run, which: str
) -> None:
    service.add_environment(f"{REGISTRY}/versions/5")

    outcome = run("submit", "--environment", f"{REGISTRY}/{which}")

    assert outcome.code == 0, outcome
    assert (service.runs()[-1].definition or {})["environment"]["name"] == f"{REGISTRY}/{which}"


BAD = {
    "an asset that is not there": (
        ["--data", "azureml:my-image@latest"],
        "no data asset 'my-image' .*: my-images; `make upl",
    ),
    "a version that is not there": (
        ["--data", "azureml:my-images:7"],
        "'my-images' in version 7 .*there is: {version}",
    ),
    "no address of an asset": (["--data", "azureml:my-images"], "names no data asset; write azureml:NAME:VERSION"),
    "a registry that is not there": (
        ["--environment", f"{REGISTRY.replace('/azureml/', '/mine/')}/versions/5"],
        "no registry mine; check the address azureml://registries/mine/",
    ),
    "an environment that the registry lacks": (
        ["--environment", f"{REGISTRY[:-1]}/labels/latest"],
        "no environment 'acpt-pytorch-2.8-cuda12.' in registry azureml; near names: acpt-pytorch-2.8-cuda12.6",
    ),
    "a version that the registry lacks": (
        ["--environment", f"{REGISTRY}/versions/6"],
        "'acpt-pytorch-2.8-cuda12.6' in version 6 in registry azureml; there is: 5",
    ),
    "no address in a registry": (["--environment", REGISTRY], "no environment's address in a registry; write azureml:"),
    "a size for a cluster": (["--vm-size", "Standard_NC6s_v3"], "cpu-cluster has its own size"),
    "serverless GPUs without a size": (
        ["--compute", "serverless", "--", "--trainer.accelerator=gpu"],
        "COMPUTE=serverless with ACCELERATOR=gpu needs a --vm-size with GPUs",
    ),
    "a size that is not there": (
        ["--compute", "serverless", "--vm-size", "Standard_NC6s_v2"],
        "no VM size 'Standard_NC6s_v2' .*near names: Standard_NC6s_v3",
    ),
    "a priority that it does not know": (
        ["--priority", "7"],
        "--priority 7: SDK v2 knows 1 .low., 2 .medium., 3 .high.",
    ),
    "an SDK that is not there": (["--sdk", "v3"], "invalid choice: 'v3'"),
    "an asset for SDK v1": (["--sdk", "v1", "--data", "azureml:my-images:7"], "is beyond SDK v1; add SDK=v2"),
    "serverless for SDK v1": (["--sdk", "v1", "--compute", "serverless"], "COMPUTE=serverless is beyond SDK v1"),
    "a registry for SDK v1": (["--sdk", "v1", "--environment", f"{REGISTRY}/labels/latest"], "is beyond SDK v1; add"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_met_is_explained_in_one_line_and_nothing_is_sent(
    service: Emulator, project: Path, version: str, case: str
) -> None:
    flags, message = BAD[case]
    service.add_environment(f"{REGISTRY}/versions/5")
    before = len(service.runs())

    outcome = quick("submit", ["--sdk", "v2", *flags], project, service.client_environment())

    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert re.search(message.format(version=version), outcome.err), outcome
    assert len(service.runs()) == before


def test_the_sdk_of_the_run_submitted_last_looks_after_it(service: Emulator, run: Run, project: Path) -> None:
    run("submit")
    remembered = json.loads((project / ".azureml" / "last_run.json").read_text())
    before = len(service.requests)

    canceled = quick("runs", ["cancel"], project, service.client_environment())

    assert remembered["sdk"] == "v2"
    assert canceled.code == 0, canceled
    asked = [request.path for request in service.requests[before:] if request.method == "POST"]
    assert f"{service.workspace.scope}/jobs/{remembered['run_id']}/cancel" in asked


def test_runs_of_one_sdk_are_looked_after_by_the_other(service: Emulator, run: Run, project: Path) -> None:
    environment = service.client_environment()
    submitted = [quick("submit", ["--sdk", sdk], project, environment) for sdk in ("v1", "v2")]
    first, second = (known.id for known in service.runs()[-2:])

    listed = [quick("runs", ["list", "--sdk", sdk], project, environment).out for sdk in ("v1", "v2")]
    swapped = ((first, "v2"), (second, "v1"))
    canceled = [quick("runs", ["cancel", known, "--sdk", sdk], project, environment) for known, sdk in swapped]

    assert [outcome.code for outcome in (*submitted, *canceled)] == [0] * 4, (submitted, canceled)
    assert all(first in table and second in table for table in listed)
    assert [service.run(known).status for known in (first, second)] == ["Canceled"] * 2


def test_a_service_that_asks_for_patience_is_not_waited_for_longer_than_half_a_minute() -> None:
    from scripts.azure.sdk_v2 import _Retries  # only where it is used: it takes a second

    def pause(seconds: str) -> float | None:
        return _Retries().get_retry_after(Mock(http_response=Mock(headers={"Retry-After": seconds})))

    assert (pause("3"), pause("3600")) == (3, 30)
