"""What a job is, and what is sent and shown of it."""

import io
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from scripts.azure.environment import read_requirements
from scripts.emulator import Emulator
from scripts.emulator.records import RunRecord
from tests.scripts.command_lines import quick
from tests.scripts.contract.conftest import SECRET, Run
from tests.sdk import Outcome


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
    files = ["requirements.txt", *(["requirements-v2.txt"] if sdk == "v2" else [])]
    assert pip["pip"] == [line for file in files for line in read_requirements(project / file)]
    assert any(line.startswith("azureml-mlflow==") for line in pip["pip"]) == (sdk == "v2"), "a job of v1 logs by v1"
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
