"""A project that trains nothing, and Azure ML: as a mock in this process, and as the emulator for real SDKs."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, settings

from scripts import runs, submit, upload_data
from scripts.azure import submitter
from scripts.emulator import Emulator
from scripts.emulator.pytest_plugin import strict_emulator

settings.register_profile("a busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("a busy machine")

ROOT = Path(__file__).resolve().parents[2]
_JOB = """
import json, os, pathlib, sys, time
print("arguments:", json.dumps(sys.argv[1:]), flush=True)
rank, outputs = os.environ.get("RANK", "0"), pathlib.Path("outputs")
outputs.mkdir(exist_ok=True)
(outputs / f"rank{rank}.json").write_text(json.dumps({
    "arguments": sys.argv[1:],
    "environment": {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "NODE_RANK")},
    "module": str(pathlib.Path(__file__).resolve().relative_to(pathlib.Path.cwd())),
}))
if "--sleep" in sys.argv or ("--fail-on-1" in sys.argv and rank == "0"):
    time.sleep(3600)
if "--fail-on-1" in sys.argv and rank == "1":
    print("process 1 has eaten the carrot", flush=True)
    sys.exit(4)
"""
_CLI = """
from lightning_cifar.errors import UserError

def check_flags(args):
    if "--refused" in args:
        raise UserError("unknown flag --refused; see fit --help")
"""


def make_project(folder: Path, package: Path | None = None) -> Path:
    """Put the scripts around a package: one that trains nothing, or the one given."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=ignore)
    for name in (".amlignore", ".gitignore", "requirements.txt", "requirements-v2.txt"):
        shutil.copy(ROOT / name, folder / name)
    if package:
        shutil.copytree(package, folder / "lightning_cifar", ignore=ignore)
        return folder
    package = folder / "lightning_cifar"
    shutil.copytree(ROOT / "lightning_cifar" / "azure", package / "azure", ignore=ignore)
    for name in ("durations.py", "errors.py", "files.py"):
        shutil.copy(ROOT / "lightning_cifar" / name, package)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(_JOB)
    (package / "cli.py").write_text(_CLI)
    (package / "data").mkdir()
    (package / "data" / "__init__.py").write_text("SOURCES = ('cifar10', 'synthetic')\n")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project that trains nothing."""
    return make_project(tmp_path / "project")


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Let the command lines run in this process, in `project`; return what stands for the workspace and its SDK."""
    monkeypatch.chdir(project)
    for module in (submit, runs, upload_data):
        monkeypatch.setattr(module, "ROOT", project)
    (project / "config.json").write_text('{"subscription_id": "s", "resource_group": "g", "workspace_name": "fake"}')
    azure = Mock()
    azure.connect.return_value.has_assets = False
    monkeypatch.setattr(submitter, "load", lambda sdk: Mock(connect=azure.connect, describe=str))
    return azure


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    """An emulator for a module's tests, which runs what is submitted; what it did not expect fails."""
    with strict_emulator(run_jobs=True) as service:
        yield service
