"""One SDK, an emulator for it, and a project to submit from."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.azure.workspace import SDKS
from scripts.emulator import Emulator
from scripts.emulator.pytest_plugin import strict_emulator
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
