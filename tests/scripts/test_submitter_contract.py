"""What every submitter does, with its real SDK against the emulator; another SDK joins by a parameter.

The command lines are the users' own, so that what is proven here is what they get.
"""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from scripts.azure.environment import read_requirements
from scripts.azure.workspace import SDKS
from scripts.emulator import Emulator
from scripts.emulator.pytest_plugin import strict_emulator
from scripts.emulator.records import RunRecord
from tests.deadline import deadline
from tests.scripts.command_lines import quick, with_sdk
from tests.scripts.conftest import make_project
from tests.sdk import Outcome

SECRET = "s3cret-t0ken"
Run = Callable[..., Outcome]


@pytest.fixture(scope="module", params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    """The name of one SDK."""
    return str(request.param)


@pytest.fixture(scope="module")
def service(sdk: str) -> Iterator[Emulator]:
    """An emulator for the tests of one SDK, which runs what is submitted; what it did not expect fails."""
    with strict_emulator(run_jobs=True) as service:
        yield service


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, service: Emulator) -> Path:
    """A clone whose remote and files hold secrets."""
    project = make_project(tmp_path_factory.mktemp("contract") / "project")
    service.write_config(project)
    for path in (".env", "service.pem", ".git-credentials"):
        (project / path).write_text(SECRET)
    (project / ".amlignore").write_text("scripts/\n__pycache__/\n")  # each command line leaves byte-code behind
    for command in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["remote", "add", "origin", f"https://me:{SECRET}@git.example/team/project.git"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    return project


@pytest.fixture(scope="module")
def run(sdk: str, service: Emulator, project: Path) -> Iterator[Run]:
    """Runs a command line of the project to its end."""
    environment = service.client_environment()

    def run(module: str, *args: str) -> Outcome:
        return quick(module, with_sdk(args, sdk), project, environment)

    return run


class Sent(NamedTuple):
    """What was submitted, and what came of it."""

    runs: list[RunRecord]
    outcomes: list[Outcome]


@pytest.fixture(scope="module")
def sent(service: Emulator, run: Run) -> Sent:
    """One plain job, its dry run, one for four GPUs, and one on two nodes."""
    before = len(service.runs())
    first = ("--tag", "owner=me", "--tag", "why=a=b", "--display-name", "first try", "--max-duration", "1.5h")
    gpu = ("--nodes=2", "--devices=2", "--compute=gpu-cluster", "--priority=3", "--", "--trainer.accelerator=gpu")
    cpu = ("--nodes=2", "--compute=gpu-cluster", "--wait", "--", "--trainer.accelerator=cpu", "--fail-on-1")
    plain = ("--", "--x", "it's $HOME")
    dry = run("submit", "--dry-run", *plain)  # before anything is downloaded into the project
    outcomes = [run("submit", *first, "--download", *plain), dry, run("submit", *gpu), run("submit", *cpu)]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 1], outcomes
    return Sent(service.runs()[before:], outcomes)


def test_the_run_is_what_the_flags_say(sent: Sent, service: Emulator) -> None:
    run = sent.runs[0]
    assert run.definition is not None
    assert run.definition["command"] == (
        "python -m lightning_cifar fit --trainer.default_root_dir outputs --checkpoint_every 5m --data.source cifar10 "
        """--x 'it'"'"'s $HOME'"""
    )
    assert run.definition["target"] == "cpu-cluster"
    assert run.definition["maxRunDurationSeconds"] == 5400
    assert run.display_name == "first try"
    assert {"owner": "me", "why": "a=b"}.items() <= run.tags.items()
    seen = json.loads(service.artifacts(run.id)["outputs/rank0.json"])
    assert seen["arguments"][-2:] == ["--x", "it's $HOME"]
    assert seen["module"] == "lightning_cifar/__main__.py"


def test_each_step_is_said_the_log_is_shown_once_and_the_outputs_are_fetched(sent: Sent, project: Path) -> None:
    outcome = sent.outcomes[0]
    assert outcome.err == ""
    assert [line for line in outcome.out.splitlines() if line.endswith("…")][:4] == [
        "reading the training's flags with its own parser …",
        "signing in to workspace emulator …",
        "asking for compute cpu-cluster and data cifar10 …",
        "sending the snapshot and starting the job …",
    ]
    assert outcome.out.count("arguments: ") == 1
    assert f"run {sent.runs[0].id} is completed" in outcome.out
    assert (project / "downloads" / sent.runs[0].id / "outputs" / "rank0.json").exists()


def test_a_failed_process_ends_the_others_and_its_last_lines_are_shown(sent: Sent) -> None:
    outcome = sent.outcomes[3]
    assert "last lines of user_logs/std_log_process_1.txt:\n" in outcome.out
    assert "  | process 1 has eaten the carrot" in outcome.out
    assert "exited with status code 4" in outcome.last
    assert "https://ml.azure.com/" in outcome.last
    assert len(outcome.err.splitlines()) == 1


def test_the_dry_run_lists_what_is_sent_and_asks_nobody(sent: Sent, service: Emulator, project: Path, sdk: str) -> None:
    printed = sent.outcomes[1].out
    listed = re.findall(r"^#\s+[\d,]+  (\S+)$", printed, re.MULTILINE)
    assert sorted(service.snapshot(sent.runs[0].id)) == sorted(listed) != []
    before = len(service.requests)
    outcome = quick("submit", ["--dry-run", "--sdk", sdk], project, service.client_environment("none"))
    assert (outcome.code, len(service.requests)) == (0, before)


@pytest.mark.parametrize("sdk", ["v1"], indirect=True)
def test_the_dry_run_of_sdk_v1_shows_its_run_definition(sent: Sent, service: Emulator, project: Path) -> None:
    shown, run = yaml.safe_load(sent.outcomes[1].out), sent.runs[0].definition
    assert run is not None
    for key in ("command", "target", "framework", "communicator", "nodeCount", "dataReferences", "docker"):
        assert shown[key] == run[key], key
    assert shown["environment"]["name"] == run["environment"]["name"]
    packages = run["environment"]["python"]["condaDependencies"]["dependencies"]
    assert shown["environment"]["python"]["condaDependencies"]["dependencies"] == packages

    flags = ["--dry-run", "--data", "store:images", "--environment", "mine:3"]
    outcome = quick("submit", flags, project, service.client_environment("none"))
    shown = yaml.safe_load(outcome.out)
    assert (shown["environment"]["name"], shown["environment"]["version"]) == ("mine", "3")
    assert shown["dataReferences"]["training_data"]["pathOnDataStore"] == "images"


@pytest.mark.parametrize("sdk", ["v2"], indirect=True)
def test_the_dry_run_of_sdk_v2_is_a_job_yml(sent: Sent, service: Emulator) -> None:
    from azure.ai.ml import load_job

    shown, run = load_job(io.StringIO(sent.outcomes[1].out)), sent.runs[0].definition
    assert run is not None
    assert shown.command == run["command"]
    assert shown.compute == run["target"]
    assert shown.environment.image == run["environment"]["docker"]["baseImage"]
    assert shown.environment.conda_file == run["environment"]["python"]["condaDependencies"]


def test_the_environment_is_made_of_the_requirements_on_python_3_11_and_made_once(
    sent: Sent, service: Emulator, project: Path, run: Run, sdk: str
) -> None:
    used = [(run.definition or {})["environment"]["name"] for run in sent.runs]
    environments = service.environments()
    assert used[0] == used[2] != used[1]  # one for CPU, one for GPU
    assert {version for name, version in environments if name in used} == {"1"}
    python, pip, *_ = environments[(used[0], "1")]["python"]["condaDependencies"]["dependencies"]
    assert python == "python=3.11"
    assert pip["pip"] == list(read_requirements(project / "requirements.txt"))
    other = yaml.safe_load(run("submit", "--dry-run", "--python", "3.13").out)["environment"]
    packages = other["conda_file"] if sdk == "v2" else other["python"]["condaDependencies"]
    assert packages["dependencies"] == ["python=3.13", pip, "pip"]
    assert other.get("name") not in used


def test_nodes_and_devices_become_processes_of_the_platform(sent: Sent, service: Emulator, sdk: str) -> None:
    definitions = [run.definition or {} for run in sent.runs]
    on_gpu = {"v1": "nccl", "v2": "gloo"}[sdk]  # v2 names none; the emulator keeps that as Gloo
    assert [each["communicator"].lower() for each in definitions] == ["none", on_gpu, "gloo"]
    images = [each["environment"]["docker"]["baseImage"] for each in definitions]
    assert ["cuda" in image for image in images] == [False, True, False]
    definition = definitions[1]
    assert definition["framework"] == "PyTorch"
    assert definition["nodeCount"] == definition["pytorch"]["nodeCount"] == 2
    assert definition["pytorch"]["processCount"] == 4
    assert "--trainer.num_nodes 2 --trainer.devices 2 --trainer.strategy ddp" in definition["command"]
    assert definition["priority"] == 3
    # Process 0 can be ended by the failure of process 1 before it has written anything.
    place = json.loads(service.artifacts(sent.runs[2].id)["outputs/rank1.json"])["environment"]
    assert (place["RANK"], place["NODE_RANK"], place["WORLD_SIZE"]) == ("1", "1", "2")


def test_no_secret_reaches_the_service_the_run_or_the_screen(sent: Sent, service: Emulator) -> None:
    assert not [request.path for request in service.requests if SECRET.encode() in request.body]
    addresses = [value for run in sent.runs for value in run.properties.values() if "git.example" in value]
    assert set(addresses) == {"https://git.example/team/project.git"}
    assert not [outcome for outcome in sent.outcomes if SECRET in outcome.out + outcome.err]
    for run in sent.runs:
        assert not {"config.json", ".env", "service.pem", ".git-credentials"} & service.snapshot(run.id).keys()
    assert re.search("^workspace .*never sent: .*config.json", sent.outcomes[0].out, re.MULTILINE)


def test_environments_of_the_workspace_and_conda_files_work(service: Emulator, run: Run, project: Path) -> None:
    service.add_environment("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    (project / "conda.yml").write_text("dependencies:\n- python=3.11\n- pip:\n  - torch==2.11.0\n")
    before = len(service.runs())

    outcomes = [run("submit", "--environment=AzureML-acpt-pytorch-2.8-cuda12.6"), run("submit", "--conda=conda.yml")]
    missing = [
        run("submit", "--environment", name) for name in ("acpt-pytorch-2.9", "AzureML-acpt-pytorch-2.8-cuda12.6:9")
    ]

    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    curated, conda = ((run.definition or {})["environment"] for run in service.runs()[before:])
    assert (curated["name"], curated["version"]) == ("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    assert conda["python"]["condaDependencies"]["dependencies"] == ["python=3.11", {"pip": ["torch==2.11.0"]}]
    assert "near names: AzureML-acpt-pytorch-2.8-cuda12.6" in missing[0].last
    assert "in version 9" in missing[1].last


def test_what_the_workspace_lacks_is_named_before_anything_is_sent(service: Emulator, run: Run) -> None:
    before = len(service.runs())

    outcomes = [run("submit", "--compute", "nope")]
    outcomes += [run("submit", "--data", data) for data in ("nope:images", "workspaceblobstore:no")]

    assert [outcome.err.partition("; ")[0] for outcome in outcomes] == [
        "error: no compute 'nope' in workspace emulator",
        "error: no datastore 'nope' in workspace emulator",
        "error: nothing at workspaceblobstore:no",
    ]
    assert len(service.runs()) == before


def test_images_are_uploaded_once_and_reach_a_job_mounted_or_downloaded(
    service: Emulator, run: Run, tmp_path: Path, sdk: str
) -> None:
    images, archive = tmp_path / "my images", tmp_path / "archive"
    for path in ("train/red cats/0.png", "test/red cats/0.png"):
        (images / path).parent.mkdir(parents=True)
        (images / path).write_text(path)
    archive.mkdir()
    (archive / "cifar-10-python.tar.gz").write_bytes(b"tar")
    before = len(service.runs())

    uploads = [run("upload_data", str(folder)) for folder in (images, archive, images)]
    (images / "train/red cats/0.png").write_text("TRAIN/red cats/0.png")  # the same size
    uploads.append(run("upload_data", str(images)))
    data = [outcome.out.strip().rpartition("DATA=")[2] for outcome in uploads]
    jobs = [
        run("submit", "--data", where, f"--data-mode={mode}", "--wait")
        for where, mode in ((data[3], "mount"), (data[1], "download"))
    ]

    assert [outcome.code for outcome in (*uploads, *jobs)] == [0] * 6, (uploads, jobs)
    # Of SDK v1 the folder is changed in place, of SDK v2 each version has its own.
    sent = [re.findall(r"uploaded (\d+)", outcome.out)[0] for outcome in uploads]
    assert sent == ["2", "1", "0", "2" if sdk == "v2" else "1"]
    assert (data[0] == data[2], data[2] == data[3]) == (True, sdk == "v1")
    assert b"TRAIN/red cats/0.png" in service.datastore().values()
    assert (b"train/red cats/0.png" in service.datastore().values()) == (sdk == "v2")
    runs = service.runs()[before:]
    seen = [json.loads(service.artifacts(run.id)["outputs/rank0.json"])["arguments"] for run in runs]
    assert (seen[0][5], seen[0][6][0]) == ("--data.source", "/")
    assert seen[1][5:8] == ["--data.source", "cifar10", "--data.data_dir"]
    modes = [(run.definition or {})["dataReferences"]["training_data"]["mode"] for run in runs]
    assert modes == ["mount", "download"]


_LOG = {
    "v1": """
from azureml.core import Run
run = Run.get_context()
for step in range(1, 6):
    run.log("loss", 2 / step, step=step * 100)
run.log("val_acc", 0.3, step=500)
run.flush()
""",
    "v2": """
import mlflow
for step in range(1, 6):
    mlflow.log_metric("loss", 2 / step, step=step * 100)
mlflow.log_metric("val_acc", 0.3, step=500)
""",
}


def test_metrics_are_listed_and_checkpoints_registered(service: Emulator, run: Run, sdk: str) -> None:
    job = [sys.executable, "-c", _LOG[sdk]]
    subprocess.run(
        job,
        env=service.job_environment("logged", mlflow=sdk == "v2") | {"DO_NOT_TRACK": "true"},
        check=True,
        timeout=deadline(30),
    )
    for version in (9, 10):
        service.add_artifact("logged", f"outputs/cifar10/version_{version}/checkpoints/best.ckpt", b"best")

    listed, elsewhere = run("runs", "list", "-n", "1"), run("runs", "list", "--experiment", "no")
    compared = run("runs", "compare", "logged", "--metric", "loss")
    registered, unknown = run("runs", "register", "logged", "--name", "net"), run("runs", "watch", "fourth")

    (row,) = [line for line in listed.out.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in row.split("│")[1:]][:3] == ["logged", "logged", "Running"]
    assert [cell.strip() for cell in row.split("│")[-3:-1]] == ["0.3", "0.4"]
    assert "no experiment 'no' in workspace emulator; there is: cifar10" in elsewhere.last
    assert compared.code == registered.code == 0, (compared, registered)
    assert [model.name for model in service.models()] == ["net"]
    assert "version_10/checkpoints/best.ckpt of run logged" in registered.last
    assert "not found: run fourth" in unknown.last


def test_a_running_job_is_canceled_once(service: Emulator, run: Run) -> None:
    run("submit", "--", "--sleep")
    job = service.runs()[-1].id

    first = run("runs", "cancel")
    ended = service.job(job).wait(deadline(20))
    second, watched = run("runs", "cancel", job), run("runs", "watch")

    assert (first.code, ended) == (0, "Canceled")
    assert second.code == 1
    assert "has ended already: Canceled" in second.last
    assert watched.code == 130
