"""Submitting with the unmodified SDK: what the service gets, and what a user gets to read."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from scripts.emulator import Emulator
from scripts.emulator.state import RunRecord
from tests.scripts.conftest import Outcome, call, call_all, make_project

SECRET = "s3cret-t0ken"


class Sent(NamedTuple):
    """What was submitted, and what came of it."""

    service: Emulator
    runs: list[RunRecord]
    outcomes: list[Outcome]
    project: Path


@pytest.fixture(scope="module")
def sent(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Submissions in a row, from a clone whose remote and files hold secrets; the later ones are distributed."""
    project = make_project(tmp_path_factory.mktemp("sent") / "project")
    service.write_config(project)
    for path in (".env", "service.pem", ".git-credentials"):
        (project / path).write_text(SECRET)
    (project / ".amlignore").write_text("scripts/\n")
    for command in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["remote", "add", "origin", f"https://me:{SECRET}@git.example/team/project.git"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    first = ["--tag", "owner=me", "--tag", "why=a=b", "--display-name", "first try", "--max-duration", "1.5h", "--wait"]
    second = ["--nodes", "2", "--devices", "2", "--compute", "gpu-cluster", "--priority", "3"]
    calls = [
        ("submit", [*first, "--", "--x", "it's $HOME"]),
        ("submit", ["--dry-run", "--", "--x", "it's $HOME"]),
        ("submit", [*second, "--", "--trainer.accelerator", "gpu"]),
        ("submit", ["--nodes", "2", "--compute", "gpu-cluster", "--wait", "--", "--trainer.accelerator", "cpu"]),
    ]
    before = len(service.runs())
    outcomes = call_all(calls, project, service.client_environment())
    return Sent(service, service.runs()[before:], outcomes, project)


def test_every_submission_succeeds(sent: Sent) -> None:
    assert [(outcome.code, outcome.err) for outcome in sent.outcomes] == [(0, "")] * 4


def test_the_run_is_what_the_flags_say(sent: Sent) -> None:
    service, run = sent.service, sent.runs[0]

    assert run.definition is not None
    assert run.definition["command"] == (
        "python -m lightning_cifar fit --trainer.default_root_dir outputs --data.source cifar10 "
        """--x 'it'"'"'s $HOME'"""
    )
    assert run.definition["target"] == "cpu-cluster"
    assert run.definition["maxRunDurationSeconds"] == 5400
    assert run.display_name == "first try"
    assert {"owner": "me", "why": "a=b"}.items() <= run.tags.items()
    seen = json.loads(service.artifacts(run.id)["outputs/rank0.json"])
    assert seen["arguments"][-2:] == ["--x", "it's $HOME"]
    assert seen["module"] == "lightning_cifar/__main__.py"


def test_the_snapshot_is_the_list_of_the_dry_run_and_its_definition_the_one_sent(
    sent: Sent,
) -> None:
    service, run, printed = sent.service, sent.runs[0], sent.outcomes[1].out
    listed = re.findall(r"^#\s+[\d,]+  (\S+)$", printed, re.MULTILINE)

    assert sorted(service.snapshot(run.id)) == sorted(listed) != []
    shown = yaml.safe_load(printed)
    assert run.definition is not None
    for key in ("command", "target", "framework", "communicator", "nodeCount", "dataReferences", "docker"):
        assert shown[key] == run.definition[key], key
    assert shown["environment"]["name"] == run.definition["environment"]["name"]
    packages = run.definition["environment"]["python"]["condaDependencies"]["dependencies"]
    assert shown["environment"]["python"]["condaDependencies"]["dependencies"] == packages


def test_the_environment_is_made_of_the_requirements_on_python_3_11_and_made_once(
    sent: Sent,
) -> None:
    used = [(run.definition or {})["environment"]["name"] for run in sent.runs]
    environments = sent.service.environments()

    assert used[0] == used[2] != used[1]  # one for CPU, one for GPU
    assert {version for name, version in environments if name in used} == {"1"}
    definition = environments[(used[0], "1")]
    python, pip = (definition["python"]["condaDependencies"]["dependencies"][n] for n in (0, 1))
    assert python == "python=3.11"
    lines = [line for line in (sent.project / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert pip["pip"] == lines


def test_a_gpu_job_gets_a_cuda_image_and_nccl_and_a_cpu_job_gloo(sent: Sent) -> None:
    definitions = [run.definition or {} for run in sent.runs]

    assert [definition["communicator"] for definition in definitions] == ["None", "nccl", "gloo"]
    images = [definition["environment"]["docker"]["baseImage"] for definition in definitions]
    assert ["cuda" in image for image in images] == [False, True, False]


def test_nodes_and_devices_become_processes_of_the_platform(sent: Sent) -> None:
    definition = sent.runs[1].definition or {}

    assert definition["framework"] == "PyTorch"
    assert definition["nodeCount"] == definition["pytorch"]["nodeCount"] == 2
    assert definition["pytorch"]["processCount"] == 4
    assert "--trainer.num_nodes 2 --trainer.devices 2 --trainer.strategy ddp" in definition["command"]
    assert definition["priority"] == 3
    artifacts = sent.service.artifacts(sent.runs[2].id)
    ranks = [json.loads(artifacts[f"outputs/rank{rank}.json"])["environment"] for rank in (0, 1)]
    assert [(rank["RANK"], rank["NODE_RANK"], rank["WORLD_SIZE"]) for rank in ranks] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]


def test_no_secret_reaches_the_service_the_run_or_the_screen(sent: Sent) -> None:
    service, runs, outcomes, _ = sent

    assert not [request.path for request in service.requests if SECRET.encode() in request.body]
    addresses = {run.properties["azureml.git.repository_uri"] for run in runs}
    assert addresses == {"https://git.example/team/project.git"}
    for outcome in outcomes:
        assert SECRET not in outcome.out
    for run in runs:
        assert not {"config.json", ".env", "service.pem", ".git-credentials"} & service.snapshot(run.id).keys()
    assert "never sent: " in outcomes[0].out
    assert "config.json" in outcomes[0].out.splitlines()[0]


def test_the_run_and_its_address_are_printed_and_remembered(sent: Sent) -> None:
    last, outcomes = sent.runs[-1], sent.outcomes

    remembered = json.loads((sent.project / ".azureml" / "last_run.json").read_text())
    assert remembered["run_id"] == last.id
    assert remembered["studio"].startswith("https://ml.azure.com/")
    assert last.id in outcomes[3].out
    assert remembered["studio"] in outcomes[3].out


def test_a_dry_run_asks_nobody_and_needs_no_account(project: Path, service: Emulator) -> None:
    environment = service.client_environment("none")
    before = len(service.requests)

    outcome = call("submit", ["--dry-run", "--data", "store:images", "--environment", "mine:3"], project, environment)

    assert outcome.code == 0, outcome.err
    assert len(service.requests) == before
    shown = yaml.safe_load(outcome.out)
    assert (shown["environment"]["name"], shown["environment"]["version"]) == ("mine", "3")
    assert shown["dataReferences"]["training_data"]["pathOnDataStore"] == "images"
    assert not (project / ".azureml").exists()


@pytest.mark.parametrize("auth", ["managed-identity", "cli"])
def test_other_ways_to_sign_in(project: Path, service: Emulator, auth: str, tmp_path: Path) -> None:
    service.write_config(project)
    environment = service.client_environment("managed-identity" if auth == "managed-identity" else "none")
    if auth == "cli":
        token = tmp_path / "az"
        token.write_text(f'#!/bin/sh\necho \'{{"accessToken": "{_token(service)}"}}\'\n')
        token.chmod(0o755)
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        azure = Path(environment["HOME"], ".azure")
        azure.mkdir()
        (azure / "azureProfile.json").write_text("{}")

    outcome = call("submit", [], project, environment)

    assert outcome.code == 0, outcome.err


def _token(service: Emulator) -> str:
    """Sign in as a service principal does, as the Azure CLI would on a laptop."""
    code = (
        "import os; from azureml.core.authentication import ServicePrincipalAuthentication as Auth; "
        "names = ('TENANT_ID', 'ID', 'PASSWORD'); "
        "print(Auth(*(os.environ['AZUREML_SERVICE_PRINCIPAL_' + n] for n in names)).get_token().token)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=service.client_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
    )
    return done.stdout.strip().splitlines()[-1]


def test_the_tutorials_three_environments_all_work(project: Path, service: Emulator) -> None:
    service.write_config(project)
    service.add_environment("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    (project / "conda.yml").write_text("dependencies:\n- python=3.11\n- pip:\n  - torch==2.11.0\n")
    (project / "few.txt").write_text("torch==2.11.0\n")
    flags = (
        ["--environment", "AzureML-acpt-pytorch-2.8-cuda12.6"],
        ["--conda", "conda.yml"],
        ["--requirements", "few.txt"],
    )
    before = len(service.runs())

    outcomes = call_all([("submit", each) for each in flags], project, service.client_environment())

    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes
    curated, conda, pip = ((run.definition or {})["environment"] for run in service.runs()[before:])
    assert (curated["name"], curated["version"]) == ("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    for built in (conda, pip):
        assert {"pip": ["torch==2.11.0"]} in built["python"]["condaDependencies"]["dependencies"]
        assert "python=3.11" in built["python"]["condaDependencies"]["dependencies"]


def test_a_datastore_folder_reaches_the_job_mounted_or_downloaded(
    project: Path, service: Emulator, tmp_path: Path
) -> None:
    service.write_config(project)
    (tmp_path / "images" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "train" / "cat" / "1.png").write_bytes(b"png")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "cifar-10-python.tar.gz").write_bytes(b"tar")
    service.mount("here/images", tmp_path / "images")
    service.mount("here/archive", tmp_path / "archive")
    stores = [("here/images", "mount"), ("here/archive", "download")]
    calls = [
        ("submit", ["--data", f"workspaceblobstore:{path}", "--data-mode", mode, "--wait"]) for path, mode in stores
    ]
    before = len(service.runs())

    outcomes = call_all(calls, project, service.client_environment())

    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    images, archive = (
        json.loads(service.artifacts(run.id)["outputs/rank0.json"])["arguments"] for run in service.runs()[before:]
    )
    assert images[3] == "--data.source"
    assert images[4].startswith("/")
    assert archive[3:6] == ["--data.source", "cifar10", "--data.data_dir"]
    modes = [(run.definition or {})["dataReferences"]["training_data"]["mode"] for run in service.runs()[before:]]
    assert modes == ["mount", "download"]
