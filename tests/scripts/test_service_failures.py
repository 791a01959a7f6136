"""A service that says no, or nothing: one line that says what and what next, and nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.conftest import make_folder
from tests.scripts.command_lines import quick
from tests.scripts.conftest import ROOT


@pytest.fixture
def quiet(azure: Emulator, project: Path) -> Emulator:
    """A service that runs no jobs, to be spoilt, with the project's config pointing to it."""
    azure.write_config(project)
    return azure


STATES = [
    ({"workspace_name": "elsewhere"}, {}, None, "not found: workspace elsewhere"),
    ({"subscription_id": "00000000-0000-0000-0000-00000000000f"}, {}, None, "not found: the subscription"),
    ({}, {"AZUREML_SERVICE_PRINCIPAL_PASSWORD": "no"}, None, "sign-in refused for workspace emulator"),
    ({}, {"AZUREML_SERVICE_PRINCIPAL_ID": ""}, None, "nobody is signed in to Azure"),
    ({}, {}, ("refuse", None), "cannot reach Azure ML for workspace emulator"),
    ({}, {}, ("429", "execution"), "Azure ML answered 429 for submission to experiment cifar10"),
    ({}, {}, ("500", "management"), "Azure ML answered 500 for workspace emulator"),
    ({}, {}, ("403", "management"), "not allowed: workspace emulator"),
]


@pytest.mark.parametrize(("config", "variables", "fault", "message"), STATES)
def test_it_is_explained_and_no_run_is_left(
    project: Path, quiet: Emulator, config: dict, variables: dict, fault: tuple, message: str
) -> None:
    file = project / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    if fault:
        quiet.misbehave(fault[0], on=fault[1])

    outcome = quick("submit", [], project, quiet.client_environment() | variables)

    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {message}"), outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not quiet.runs()
    assert not (project / ".azureml").exists()


def test_an_upload_that_broke_off_says_why_and_goes_on_where_it_was(project: Path, quiet: Emulator) -> None:
    make_folder(project / "images", ("cat", "dog"), 5, 5)
    quiet.misbehave("403", on="images/train/dog")
    environment = quiet.client_environment()

    refused = quick("upload_data", ["images"], project, environment)
    quiet.behave()
    again = quick("upload_data", ["images"], project, environment)

    assert (refused.code, again.code) == (1, 0), again
    assert refused.last.startswith("error: not allowed: "), refused
    assert "call it again to go on" in refused.last
    sent = [request for request in quiet.requests if request.method == "PUT" and "/images/" in request.path]
    stored = [request.path for request in sent if request.status == 201]
    assert len(stored) == len(set(stored)) == 20


def test_a_service_that_is_busy_for_a_moment_is_asked_again(project: Path, quiet: Emulator) -> None:
    faults = [
        quiet.misbehave("429" if route == "execution" else "500", on=route, requests=1)
        for route in ("management", "environments", "execution")
    ]

    outcome = quick("submit", [], project, quiet.client_environment())

    assert outcome.code == 0, outcome.err
    assert [fault.hits for fault in faults] == [1, 1, 1]
    assert len(quiet.runs()) == 1


@pytest.mark.parametrize("auth", ["managed-identity", "cli"])
def test_other_ways_to_sign_in(project: Path, quiet: Emulator, auth: str) -> None:
    outcome = quick("submit", [], project, quiet.client_environment(auth))

    assert outcome.code == 0, outcome.err
    assert len(quiet.runs()) == 1


def test_the_sdk_waits_for_people_and_not_for_machines() -> None:
    show = "from scripts.azure.submitter import load; load(); from azureml._restclient import clientbase as it; "
    show += "print(it.DEFAULT_BACKOFF)"

    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "4\n"
