"""A service that says no, or nothing: one line that says what and what next, and nothing left behind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.conftest import make_folder
from tests.scripts.command_lines import CommandLines
from tests.scripts.conftest import ROOT


@pytest.fixture(scope="module")
def spoilt() -> Iterator[Emulator]:
    """A service that runs no jobs, to be spoilt and mended by each test."""
    with Emulator() as service:
        yield service
        assert not service.unexpected


@pytest.fixture
def quiet(spoilt: Emulator, project: Path) -> Iterator[Emulator]:
    """The same, healthy, with the project's config pointing to it."""
    spoilt.write_config(project)
    yield spoilt
    spoilt.behave()


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
    project: Path, quiet: Emulator, commands: CommandLines, config: dict, variables: dict, fault: tuple, message: str
) -> None:
    file = project / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    if fault:
        quiet.misbehave(fault[0], on=fault[1])

    outcome = commands("submit", [], project, quiet.client_environment() | variables)

    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {message}"), outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not quiet.runs()
    assert not (project / ".azureml").exists()


def test_an_upload_that_is_refused_says_so(project: Path, quiet: Emulator, commands: CommandLines) -> None:
    make_folder(project / "images", ("cat", "dog"), 1, 1)
    quiet.misbehave("403", on="blobs")

    outcome = commands("upload_data", ["images"], project, quiet.client_environment())

    assert outcome.code == 1
    assert outcome.last.startswith("error: not allowed: "), outcome.last
    assert not quiet.datastore()


def test_a_service_that_is_busy_for_a_moment_is_asked_again(project: Path, commands: CommandLines) -> None:
    with Emulator() as service:
        service.write_config(project)
        faults = [
            service.misbehave("429" if route == "execution" else "500", on=route, requests=1)
            for route in ("management", "environments", "execution")
        ]

        outcome = commands("submit", [], project, service.client_environment())

        assert outcome.code == 0, outcome.err
        assert [fault.hits for fault in faults] == [1, 1, 1]
        assert len(service.runs()) == 1


@pytest.mark.parametrize("auth", ["managed-identity", "cli"])
def test_other_ways_to_sign_in(project: Path, commands: CommandLines, auth: str) -> None:
    with Emulator() as service:
        service.write_config(project)

        outcome = commands("submit", [], project, service.client_environment(auth))

        assert outcome.code == 0, outcome.err
        assert len(service.runs()) == 1


def test_the_sdk_waits_for_people_and_not_for_machines() -> None:
    show = "from scripts.azure.submitter import load; load(); from azureml._restclient import clientbase as it; "
    show += "print(it.DEFAULT_BACKOFF)"

    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "4\n"
