"""A service that says no, or nothing: one line that says what and what next, and nothing left behind."""

import json
import re
from pathlib import Path

import pytest

from scripts.azure.workspace import AZURE_CLIENT, SDKS, SERVICE_PRINCIPAL
from scripts.emulator import Emulator
from tests.conftest import make_folder
from tests.scripts.command_lines import quick
from tests.sdk import run_with_sdk


@pytest.fixture
def quiet(azure: Emulator, project: Path) -> Emulator:
    """A service that runs no jobs, to be spoilt, with the project's config pointing to it."""
    azure.write_config(project)
    return azure


STATES = [
    ({"workspace_name": "elsewhere"}, {}, None, "not found: workspace elsewhere"),
    (
        {"subscription_id": "00000000-0000-0000-0000-00000000000f"},
        {},
        None,
        "not found: (the subscription|workspace emulator)",
    ),
    ({}, {"AZUREML_SERVICE_PRINCIPAL_PASSWORD": "no"}, None, "sign-in refused for workspace emulator"),
    ({}, {"AZUREML_SERVICE_PRINCIPAL_ID": ""}, None, "nobody is signed in to Azure"),
    ({}, {}, ("refuse", None), "cannot reach Azure ML for workspace emulator"),
    ({}, {}, ("429", "/execution/|/jobs/"), "Azure ML answered 429 for submission to experiment cifar10"),
    ({}, {}, ("500", "management"), "Azure ML answered 500 for workspace emulator"),
    ({}, {}, ("403", "management"), "not allowed: workspace emulator"),
]


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(("config", "variables", "fault", "message"), STATES)
def test_a_failed_submission_is_explained_and_leaves_no_run(
    project: Path, quiet: Emulator, config: dict, variables: dict, fault: tuple, message: str, sdk: str
) -> None:
    file = project / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    if fault:
        quiet.misbehave(fault[0], on=fault[1])

    outcome = quick("submit", ["--sdk", sdk], project, quiet.client_environment() | variables)

    assert outcome.code == 1
    assert re.match(f"error: {message}", outcome.err), outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not quiet.runs()
    assert not (project / ".azureml").exists()


@pytest.mark.parametrize("sdk", SDKS)
def test_an_upload_that_broke_off_says_why_and_goes_on_where_it_was(project: Path, quiet: Emulator, sdk: str) -> None:
    make_folder(project / "images", ("cat", "dog"), 5, 5)
    quiet.misbehave("403", on="/train/dog")
    environment = quiet.client_environment()

    refused = quick("upload_data", ["images", "--sdk", sdk], project, environment)
    quiet.behave()
    again = quick("upload_data", ["images", "--sdk", sdk], project, environment)

    assert (refused.code, again.code) == (1, 0), again
    assert refused.last.startswith("error: not allowed: "), refused
    assert "call it again to go on" in refused.last
    sent = [request for request in quiet.requests if request.method == "PUT" and "/images/" in request.path]
    stored = [request.path for request in sent if request.status == 201]
    assert len(stored) == len(set(stored)) == 20


@pytest.mark.parametrize(
    ("sdk", "routes"), [("v1", ("management", "environments", "execution")), ("v2", ("management", "assets", "jobs"))]
)
def test_requests_to_a_busy_service_are_retried(
    project: Path, quiet: Emulator, sdk: str, routes: tuple[str, ...]
) -> None:
    faults = [quiet.misbehave("429" if route == routes[-1] else "500", on=route, requests=1) for route in routes]

    outcome = quick("submit", ["--sdk", sdk], project, quiet.client_environment())

    assert outcome.code == 0, outcome.err
    assert [fault.hits for fault in faults] == [1, 1, 1]
    assert len(quiet.runs()) == 1


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("auth", ["managed-identity", "cli", "AZURE_CLIENT_ID"])
def test_other_ways_to_sign_in(project: Path, quiet: Emulator, auth: str, sdk: str) -> None:
    if auth in AZURE_CLIENT:
        known = quiet.client_environment()
        environment = quiet.client_environment("none")
        environment |= {own: known[variable] for own, variable in zip(AZURE_CLIENT, SERVICE_PRINCIPAL, strict=True)}
    else:
        environment = quiet.client_environment(auth)

    outcome = quick("submit", ["--sdk", sdk], project, environment)

    assert outcome.code == 0, outcome.err
    assert len(quiet.runs()) == 1


@pytest.mark.parametrize(("requests", "code"), [(2, 0), (None, 1)], ids=["for a while", "for good"])
def test_a_job_whose_answer_was_lost_is_found_by_its_name_and_not_started_again(
    project: Path, quiet: Emulator, requests: int | None, code: int
) -> None:
    quiet.misbehave("store-and-drop", on="jobs", requests=requests)

    outcome = quick("submit", ["--sdk", "v2"], project, quiet.client_environment())

    (run,) = quiet.runs()
    assert outcome.code == code
    assert (f"run {run.id}" in outcome.out) == (code == 0)
    assert code == 0 or outcome.last.endswith(f"; it may have been started: make watch RUN={run.id}")


_IMPATIENT = """
import runpy, sys
sys.path.insert(0, "")
from scripts.azure import sdk_v2, service_errors
sdk_v2.BOUNDED["read_timeout"], service_errors.PATIENCE = 0.5, 0.5
runpy.run_module("scripts.submit", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("on", ["login", "management", "computes", "assets", "jobs", "history"])
def test_sdk_v2_asks_a_service_that_never_answers_twice_and_no_more(project: Path, quiet: Emulator, on: str) -> None:
    fault = quiet.misbehave("silence", on=on)

    outcome = run_with_sdk(_IMPATIENT, quiet.client_environment(), ["--sdk", "v2", "--wait"], project)

    assert outcome.code == 1
    assert outcome.last.startswith("error: cannot reach Azure ML for "), outcome
    assert fault.hits == (4 if on == "jobs" else 2), "whether there is a job is asked twice as well"
