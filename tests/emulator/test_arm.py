"""The unmodified SDK v2 (azure-ai-ml) at the emulator: jobs, the files they take along, and what they leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.deadline import deadline

_CLIENT = """
import os, sys
from azure.ai.ml import Input, MLClient, PyTorchDistribution, command
from azure.ai.ml.entities import Data, Environment
from azure.core.exceptions import AzureError
from azure.identity import ClientSecretCredential

names = ("TENANT_ID", "ID", "PASSWORD")
credential = ClientSecretCredential(*(os.environ[f"AZUREML_SERVICE_PRINCIPAL_{name}"] for name in names))
ml = MLClient.from_config(credential, path=sys.argv[1], show_progress=False)

def job(**more):
    environment = Environment(name="mine", version="1", image="image", conda_file={"dependencies": ["python=3.11"]})
    fields = dict(code=sys.argv[1], environment=environment, compute="cpu-cluster", experiment_name="submitted")
    return command(**fields | dict(command="python -m pkg.helper") | more)
"""

_SUBMIT = """
first = ml.jobs.create_or_update(job(tags={"owner": "me"}, timeout=5400, environment_variables={"A": "b"}))
again = ml.jobs.create_or_update(job(instance_count=2, distribution=PyTorchDistribution(process_count_per_instance=2)))
for wrong in (job(compute="absent"), job(instance_count=5), job(compute=None, instance_type="Standard_ZX80")):
    try:
        ml.jobs.create_or_update(wrong)
    except AzureError as error:
        print(type(error).__name__, error.status_code)
print(ml.jobs.get(first.name).status, first.studio_url)
"""

_RUN = """
asset = Data(name="numbers", version="1", type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/a/b/")
ml.data.create_or_update(asset)
data = Input(type="uri_folder", path="azureml:numbers:1", mode="download")
print(ml.jobs.create_or_update(job(command="cp ${{inputs.data}}/* outputs/", inputs={"data": data})).name)
"""


@pytest.fixture
def running() -> Iterator[Emulator]:
    """An emulator that runs what is submitted; what it did not expect fails."""
    with Emulator(run_jobs=True) as running:
        yield running
    assert not running.unexpected


def test_a_job_is_kept_as_it_was_sent_and_files_that_are_known_are_not_sent_again(
    azure: Emulator, script, project: Path
) -> None:
    azure.write_config(project)

    *refused, last = script(_CLIENT + _SUBMIT, azure.client_environment(), project).splitlines()

    assert refused == ["HttpResponseError 400"] * 3
    first, again = azure.runs("submitted")
    assert last.startswith(f"JobStatus.QUEUED https://ml.azure.com/runs/{first.id}?wsid=/subscriptions/")
    assert (first.tags, first.target) == ({"owner": "me"}, "cpu-cluster")
    assert first.definition["command"] == "python -m pkg.helper"
    assert first.definition["maxRunDurationSeconds"] == 5400
    assert first.definition["environmentVariables"] == {"A": "b"}
    assert (again.definition["nodeCount"], again.definition["pytorch"]["processCount"]) == (2, 4)
    assert set(azure.snapshot(first.id)) == {".amlignore", "pkg/__init__.py", "pkg/helper.py"}
    assert azure.snapshot(again.id) == azure.snapshot(first.id)
    sent = [request.path for request in azure.requests if request.method == "PUT" and request.route == "blobs"]
    assert sum(path.endswith("helper.py") for path in sent) == 1
    environment = azure.environments()["mine", "1"]
    assert environment["docker"]["baseImage"] == "image"
    assert environment["python"]["condaDependencies"] == {"dependencies": ["python=3.11"]}


def test_a_job_runs_with_the_data_of_an_asset_and_its_outputs_are_fetched(
    running: Emulator, script, project: Path
) -> None:
    running.write_config(project)
    (project / "numbers").mkdir()
    (project / "numbers" / "one").write_text("1")
    running.mount("a/b", project / "numbers")

    name = script(_CLIENT + _RUN, running.client_environment(), project).strip()
    assert running.job(name).wait(deadline(20)) == "Completed"
    script(
        _CLIENT + "ml.jobs.download(sys.argv[2], download_path=sys.argv[1])",
        running.client_environment(),
        project,
        name,
    )

    assert (project / "artifacts" / "outputs" / "one").read_text() == "1"
    assert (project / "artifacts" / "user_logs" / "std_log.txt").exists()


def test_a_job_is_cancelled(running: Emulator, script, project: Path) -> None:
    running.write_config(project)
    cancel = 'run = ml.jobs.create_or_update(job(command="sleep 3600"))\nml.jobs.begin_cancel(run.name).result()'

    script(_CLIENT + cancel, running.client_environment(), project)

    (run,) = running.runs()
    assert running.job(run.id).wait(deadline(20)) == "Canceled"
