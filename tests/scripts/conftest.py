"""A project that trains nothing, sent for real: this project's scripts around a package without imports."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scripts.emulator import Emulator

ROOT = Path(__file__).resolve().parents[2]
_JOB = """
import json, os, pathlib, sys
print("arguments:", json.dumps(sys.argv[1:]), flush=True)
rank, outputs = os.environ.get("RANK", "0"), pathlib.Path("outputs")
outputs.mkdir(exist_ok=True)
(outputs / f"rank{rank}.json").write_text(json.dumps({
    "arguments": sys.argv[1:],
    "environment": {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")},
    "module": str(pathlib.Path(__file__).resolve().relative_to(pathlib.Path.cwd())),
    "files": sorted(str(path) for path in pathlib.Path(".").rglob("*") if path.is_file()),
}))
if "--sleep" in sys.argv:
    import time
    time.sleep(60)
if "--fail-on-1" in sys.argv and rank == "1":
    print("process 1 has eaten the carrot", flush=True)
    sys.exit(4)
if "--fail" in sys.argv:
    print("the loss is a carrot", flush=True)
    sys.exit(3)
"""
_CLI = """
from lightning_cifar.errors import UserError

def check_flags(args):
    if "--refused" in args:
        raise UserError("unknown flag --refused; see fit --help")
"""


class Outcome(NamedTuple):
    """What a command line left: its exit code, its output, and the last line of it all."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """What a user reads last."""
        return (self.err.strip() or self.out.strip()).splitlines()[-1]


def make_project(folder: Path) -> Path:
    """Put the scripts around a package that trains nothing."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=ignore)
    for name in (".amlignore", ".gitignore", "requirements.txt"):
        shutil.copy(ROOT / name, folder / name)
    package = folder / "lightning_cifar"
    package.mkdir()
    shutil.copy(ROOT / "lightning_cifar" / "errors.py", package)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(_JOB)
    (package / "cli.py").write_text(_CLI)
    return folder


def call(module: str, args: Sequence[str], project: Path, environment: dict[str, str], **more: Any) -> Outcome:
    """Run one of the command lines as a user does."""
    command = [sys.executable, "-m", f"scripts.{module}", *args]
    more = {"timeout": 100, "stdin": subprocess.DEVNULL} | more
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False, **more)
    return Outcome(done.returncode, done.stdout, done.stderr)


_DRIVER = """
import contextlib, importlib, io, json, sys
from scripts import console
results = []
for module, args in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = console.exit_code(importlib.import_module(f"scripts.{module}").main, args)
    results.append([code, out.getvalue(), err.getvalue()])
print("\\n" + json.dumps(results))
"""


def call_all(calls: Sequence[tuple[str, Sequence[str]]], project: Path, environment: dict[str, str]) -> list[Outcome]:
    """Run command lines one after the other in one process, so that the SDK is imported once."""
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        input=json.dumps(calls),
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return [Outcome(*result) for result in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project that trains nothing."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    """An emulator for a module's tests, which runs what is submitted; what it did not expect fails."""
    with Emulator(run_jobs=True) as service:
        yield service
        unexpected = service.unexpected
    assert not unexpected, f"requests that the emulator did not expect: {unexpected}"


Submit = Callable[..., Outcome]
