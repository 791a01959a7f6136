"""What goes wrong before a job runs: exit code, one line that says what and what next, and nothing left behind."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.scripts.conftest import Outcome, call, call_all, make_project

FLAGS = {
    "a compute that is not there": (["--compute", "nope"], r"no compute 'nope'.*there is: cpu-cluster, gpu-cluster"),
    "a compute without GPU": (["--", "--trainer.accelerator", "gpu"], r"cpu-cluster \(\S+\) has no GPU.*gpu-cluster"),
    "an accelerator of laptops": (["--", "--trainer.accelerator=mps"], r"no accelerator 'mps'; ACCELERATOR=gpu"),
    "more nodes than there are": (["--nodes", "9"], r"cpu-cluster has at most 4 nodes, fewer than NODES=9"),
    "an environment that is not there": (["--environment", "acpt-pytorch-2.9"], r"near names: acpt-pytorch-2\.8"),
    "a version that is not there": (["--environment", "acpt-pytorch-2.8:9"], r"in version 9.*acpt-pytorch-2\.8"),
    "requirements that cannot be read": (["--requirements", "bad.txt"], r"bad\.txt, line 1.*torch=="),
    "requirements that are missing": (["--requirements", "no.txt"], r"no\.txt does not exist"),
    "conda file that is no YAML": (["--conda", "bad.yml"], r"bad\.yml is no YAML"),
    "conda file without Python": (["--conda", "nopython.yml"], r"names no Python version; add"),
    "a local folder": (["--data", "images"], r"make upload-data DATA=images"),
    "data of no kind": (["--data", "imagse"], r"neither cifar10, synthetic nor DATASTORE:PATH"),
    "a datastore that is not there": (["--data", "nope:images"], r"no datastore 'nope'.*workspaceblobstore"),
    "a path that is not there": (["--data", "workspaceblobstore:no"], r"nothing at workspaceblobstore:no;"),
    "no nodes": (["--nodes", "0"], r"--nodes: must be a whole number of at least 1, not '0'"),
    "devices in words": (["--devices", "all"], r"--devices: must be a whole number"),
    "an unknown flag": (["--wiat"], r"--wiat; .* lists what there is"),
    "an unknown sign-in": (["--auth", "magic"], r"invalid choice: 'magic'"),
    "no duration": (["--max-duration", "long"], r"'long' is no duration"),
    "a flag that the job would refuse": (["--", "--refused"], r"unknown flag --refused"),
    "half an address": (["--workspace", "mine"], r"--resource-group, --subscription missing"),
    "a config that is missing": (["--config", "no.json"], r"no\.json does not exist; download it"),
    "a config that is not JSON": (["--config", "notjson.json"], r"notjson\.json is not JSON"),
    "a config that lacks a key": (["--config", "nokey.json"], r"nokey\.json lacks resource_group"),
    "a config that is a list": (["--config", "list.json"], r"list\.json lacks subscription_id"),
    "a workspace that is not there": (["--config", "ws.json"], r"not found: workspace elsewhere"),
    "a group that is not there": (["--config", "group.json"], r"not found: workspace emulator of resource group other"),
    "a subscription of others": (["--config", "sub.json"], r"not found: the subscription of workspace"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """All of the above in one process, against one service; no run may come of it."""
    project = make_project(tmp_path_factory.mktemp("bad") / "project")
    (project / "images").mkdir()
    (project / "bad.txt").write_text("torch==\n")
    (project / "bad.yml").write_text("dependencies: [a\n")
    (project / "nopython.yml").write_text("dependencies:\n- pip\n")
    with Emulator() as service:
        service.add_environment("acpt-pytorch-2.8")
        good = json.loads(service.write_config(project).read_text())
        contents = {
            "notjson": "{",
            "nokey": json.dumps({key: good[key] for key in ("subscription_id", "workspace_name")}),
            "list": "[]",
            "ws": json.dumps(good | {"workspace_name": "elsewhere"}),
            "group": json.dumps(good | {"resource_group": "other"}),
            "sub": json.dumps(good | {"subscription_id": "00000000-0000-0000-0000-00000000000f"}),
        }
        for name, content in contents.items():
            (project / f"{name}.json").write_text(content)
        calls = [("submit", flags) for flags, _ in FLAGS.values()]
        yield dict(zip(FLAGS, call_all(calls, project, service.client_environment()), strict=True))
        assert not service.runs()
        assert not service.unexpected
        assert not (project / ".azureml").exists()


@pytest.mark.parametrize("case", FLAGS)
def test_flags_that_cannot_be_met_are_explained_in_one_line(outcomes: dict[str, Outcome], case: str) -> None:
    outcome = outcomes[case]

    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert outcome.last.startswith("error: ")
    assert re.search(FLAGS[case][1], outcome.last), outcome.last


@pytest.fixture
def quiet() -> Iterator[Emulator]:
    """A service of a test's own, to be spoilt."""
    with Emulator() as service:
        yield service


Prepare = Callable[[Emulator, Path, dict[str, str]], object]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda service, project, env: (project / "config.json").unlink(), "no config.json of a workspace in"),
        (lambda service, project, env: env.update(AZUREML_SERVICE_PRINCIPAL_PASSWORD="no"), "sign-in refused for"),
        (lambda service, project, env: env.pop("AZUREML_SERVICE_PRINCIPAL_ID"), "nobody is signed in to Azure"),
        (lambda service, project, env: service.misbehave("refuse"), "cannot reach Azure ML for workspace emulator"),
        (
            lambda service, project, env: service.misbehave("429", on="execution"),
            "Azure ML answered 429 for",
        ),
        (lambda service, project, env: service.misbehave("500", on="management"), "Azure ML answered 500 for work"),
        (lambda service, project, env: service.misbehave("403", on="management"), "not allowed: workspace emulator"),
        (
            lambda service, project, env: service.misbehave("503", on="snapshots"),
            "Azure ML answered 503 for",
        ),
    ],
    ids=["no config", "wrong password", "no sign-in", "network down", "429", "500", "forbidden", "snapshot"],
)
def test_a_service_that_says_no_or_nothing_is_explained_and_no_run_is_left(
    project: Path, quiet: Emulator, prepare: Prepare, message: str
) -> None:
    quiet.write_config(project)
    environment = quiet.client_environment() | {
        "AZUREML_DEFAULT_BACKOFF": "1",
        "AZUREML_DEFAULT_500_BACKOFF": "1",
        "AZUREML_DEFAULT_503_BACKOFF": "1",
        "AZUREML_DEFAULT_RETRIES": "1",
    }
    prepare(quiet, project, environment)

    outcome = call("submit", [], project, environment)

    assert outcome.code == 1
    assert outcome.last.startswith(f"error: {message}"), outcome.last
    assert "Traceback" not in outcome.err
    assert not quiet.runs()
    assert not (project / ".azureml").exists()


def test_a_service_that_is_busy_for_a_moment_is_asked_again(project: Path, quiet: Emulator) -> None:
    quiet.write_config(project)
    for route in ("management", "environments", "execution"):
        quiet.misbehave("429" if route == "execution" else "500", on=route, requests=1)

    outcome = call("submit", [], project, quiet.client_environment() | {"AZUREML_DEFAULT_BACKOFF": "1"})

    assert outcome.code == 0, outcome.err
    assert len(quiet.runs()) == 1


def test_a_project_over_the_limits_is_refused_before_anything_is_sent(project: Path, quiet: Emulator) -> None:
    quiet.write_config(project)
    with (project / "film.mp4").open("wb") as film:
        film.truncate(301 << 20)

    outcome = call("submit", [], project, quiet.client_environment())

    assert outcome.code == 1
    assert "301.0 MB → /film.mp4" in outcome.last
    assert not quiet.requests
