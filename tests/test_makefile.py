"""Setting up by make: which Python the environment gets, and PyTorch without CUDA."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadline import deadline
from tests.wheel import write_wheel

ROOT = Path(__file__).parents[1]
_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")


class Machine:
    """A project of nothing but the Makefile and two packages, on a machine with few programs."""

    def __init__(self, folder: Path) -> None:
        self.project, self.programs = folder / "project", folder / "bin"
        self.project.mkdir()
        self.programs.mkdir()
        shutil.copy(ROOT / "Makefile", self.project)
        (self.project / "requirements.txt").write_text(
            "nvidia-nothing==1.0 ; sys_platform == 'linux'\ntorch==9.1.0  # via nobody\ntorchvision==9.2.0\n"
        )
        for name in ("bash", "make", "cat", "grep", "touch"):
            program = shutil.which(name)
            assert program
            (self.programs / name).symlink_to(program)

    def has(self, name: str, script: str) -> None:
        """Add a program."""
        (self.programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.programs / name).chmod(0o755)

    def has_python(self, name: str) -> None:
        """Add the Python of the tests, under another name."""
        self.has(name, f'exec "{sys.executable}" "$@"')

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Set up."""
        environment = {"PATH": str(self.programs), "HOME": str(self.project), "PIP_CONFIG_FILE": os.devnull}
        command = ["make", *words]
        return subprocess.run(
            command,
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=deadline(60),
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_that_runs_is_taken(machine: Machine) -> None:
    machine.has("python3.14", "echo switched off >&2; exit 127")  # as a shim of pyenv's
    machine.has_python("python3.13")
    machine.has_python("python3.11")

    assert '"python3.13" -m venv .venv\n' in machine.make("-n", ".venv/installed").stdout


def test_uv_is_taken_where_it_is_and_brings_a_python_where_none_is(machine: Machine) -> None:
    machine.has("uv", "exit 0")

    done = machine.make("-n", ".venv/installed").stdout

    assert f'"{machine.programs / "uv"}" venv --quiet --seed' in done
    assert "pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements.txt" in done


def test_a_python_of_ones_own_gets_an_environment_of_its_own(machine: Machine) -> None:
    machine.has_python("mine")
    name = f".venv-{sys.version_info.major}.{sys.version_info.minor}"

    assert f'"mine" -m venv {name}\n' in machine.make("-n", "train-local", "PYTHON=mine").stdout
    assert '"mine" -m venv here\n' in machine.make("-n", "train-local", "PYTHON=mine", "VENV=here").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lock"], "error: uv is needed to lock; install it: pipx install uv"),
        (["train-local"], "error: no Python from 3.11 on is here; install one, or uv"),
        (
            ["train-local", "PYTHON=old"],
            "error: Python 3.11 or newer is needed, but old is Python 3.9.2; name another: make PYTHON=",
        ),
        (["train-local", "TORCH=rocm"], "TORCH=rocm is unknown: TORCH=cpu, or leave it out"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(machine: Machine, words: list[str], message: str) -> None:
    machine.has("old", '[ "$1" = --version ] && echo Python 3.9.2; exit 1')

    done = machine.make("--silent", "VENV=here", *words)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]


def test_what_sdk_v2_needs_is_installed_once_and_only_for_it(machine: Machine) -> None:
    environment = machine.project / "here" / "bin"
    environment.mkdir(parents=True)
    machine.has("python", 'case "$*" in *PACKAGES*) echo azure-ai-ml==1;; *) echo "$*";; esac')
    (environment / "python").symlink_to(machine.programs / "python")
    (machine.project / "requirements-v2.txt").touch()
    (machine.project / "scripts" / "azure").mkdir(parents=True)
    (machine.project / "scripts" / "azure" / "submitter.py").touch()
    (environment.parent / "installed").touch()
    words = ("--silent", "submit", "VENV=here", "INSTALL=echo install")

    said = [machine.make(*words, *sdk).stdout.splitlines() for sdk in ((), ("SDK=v2",), ("SDK=v2",))]

    install = "install -r requirements-v2.txt azure-ai-ml==1"
    assert said == [
        ["-m scripts.submit --"],
        [install, "-m scripts.submit --sdk v2 --"],
        ["-m scripts.submit --sdk v2 --"],
    ]


def test_without_cuda_pytorch_comes_from_an_index_of_its_own_and_the_environment_remembers(machine: Machine) -> None:
    machine.has_python("python3.12")
    index = machine.project / "index"
    for name, version in (("torch", "9.1.0+cpu"), ("torchvision", "9.2.0+cpu")):
        wheel = write_wheel(index / name, name, version)
        (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{name}</a>')

    missing = machine.make("--silent", ".venv/installed-cpu", "TORCH=cpu", "TORCH_INDEX=file:///nowhere")
    done = machine.make(".venv/installed-cpu", "TORCH=cpu", f"TORCH_INDEX=file://{index}")
    again = machine.make("-n", "tensorboard")

    assert "error: file:///nowhere has no such PyTorch for the CPU, or cannot be reached" in missing.stderr
    assert done.returncode == 0, done.stderr
    found = {each.name for each in (machine.project / ".venv").glob("lib/*/site-packages/torch*.dist-info")}
    assert found == {"torch-9.1.0+cpu.dist-info", "torchvision-9.2.0+cpu.dist-info"}
    assert again.stdout.splitlines() == [".venv/bin/python -m tensorboard.main --logdir results"]
