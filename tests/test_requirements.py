"""The locked packages: they fit what pyproject.toml asks for, on each system and Python, and depend on nothing else."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "requirements.txt": [*PROJECT["project"]["dependencies"], *EXTRAS["azure"], *EXTRAS["scripts"]],
    "requirements-v2.txt": EXTRAS["mlflow"],
    "tests/requirements.txt": PROJECT["dependency-groups"]["dev"],
}
BASE = {"requirements-v2.txt": "requirements.txt"}
"""Which lock holds only what comes on top of another one."""
REMEDY = "run `make lock`"


def read(file: str) -> list[Requirement]:
    """Read a lock's lines."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def pins(file: str, environment: dict[str, str]) -> dict[str, Version]:
    """Return the one version that a lock, with that below it, has of each package on a machine."""
    found: dict[str, Version] = pins(BASE[file], environment) if file in BASE else {}
    for line in read(file):
        if line.marker is None or line.marker.evaluate(environment):
            (specifier,) = line.specifier
            assert specifier.operator == "==" and canonicalize_name(line.name) not in found, str(line)
            found[canonicalize_name(line.name)] = Version(specifier.version)
    return found


def misfits(wanted: Iterator[Requirement], pinned: dict[str, Version], environment: dict[str, str]) -> list[str]:
    """Return the requirements that hold on a machine and that its pins do not fulfil."""
    return [
        str(one)
        for one in wanted
        if (one.marker is None or one.marker.evaluate({**environment, "extra": ""}))
        and not ((version := pinned.get(canonicalize_name(one.name))) and version in one.specifier)
    ]


@pytest.mark.parametrize("file", WANTED)
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_fits_pyproject(file: str, system: str, python: str) -> None:
    machine = {**default_environment(), "sys_platform": system, "python_version": python}
    machine["python_full_version"] = f"{python}.0"
    wanted = (Requirement(one) for one in WANTED[file] if not one.startswith(PROJECT["project"]["name"]))

    assert not misfits(wanted, pins(file, machine), machine), REMEDY


@cache
def installed(name: str, extra: str = "") -> list[Requirement]:
    """Return what a package of this environment requires here."""
    found = [Requirement(one) for one in requires(name) or ()]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]


@pytest.mark.parametrize("file", WANTED)
def test_it_holds_all_that_its_packages_need_here_and_nothing_else(file: str) -> None:
    here = {name: str(value) for name, value in default_environment().items()}
    pinned = pins(file, here)
    there = {canonicalize_name(each.name): Version(each.version) for each in distributions()}
    if other := [name for name in pinned if there.get(name) != pinned[name]]:
        pytest.skip(
            f"this environment is not made of {file}: it lacks these, or has other versions: {', '.join(other)}"
        )
    reached: set[str] = set()
    todo = [one for one in map(Requirement, WANTED[file]) if one.marker is None or one.marker.evaluate(here)]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if name == PROJECT["project"]["name"]:
            continue
        assert name in pinned and pinned[name] in one.specifier, f"{one} is not in {file}: {REMEDY}"
        if name not in reached:
            reached.add(name)
            todo += installed(name)
        for extra in one.extras:
            todo += [each for each in installed(name, extra) if each not in installed(name)]

    base = pins(BASE[file], here).keys() if file in BASE else set()
    assert pinned.keys() == reached | base, REMEDY


@pytest.mark.parametrize("file", WANTED)
def test_it_says_nothing_of_where_packages_come_from(file: str) -> None:
    text = (ROOT / file).read_text()

    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]
