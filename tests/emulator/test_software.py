"""A job's environment built anew: the Python and the packages that its definition names, and nothing of this one's."""

import re
import shutil
import sys
from collections.abc import Iterator

import pytest

from scripts.emulator import Emulator
from tests.deadline import deadline
from tests.wheel import write_wheel

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
SAY = """
    import importlib.metadata, importlib.util, sys
    print(sys.prefix, importlib.metadata.version("what"), *map(importlib.util.find_spec, ("torch", "scripts")))
"""


@pytest.fixture
def azure() -> Iterator[Emulator]:
    """An emulator that builds the environment of each job."""
    with Emulator(fresh_environments=True) as azure:
        yield azure


def software(*dependencies: object) -> dict[str, object]:
    return {"environment": {"name": "mine", "python": {"condaDependencies": {"dependencies": list(dependencies)}}}}


@pytest.mark.parametrize(
    "uv", [pytest.param(True, marks=pytest.mark.skipif(not shutil.which("uv"), reason="no uv")), False]
)
def test_a_job_has_what_its_definition_names_and_nothing_else(azure, submit, tmp_path, monkeypatch, uv: bool) -> None:
    if not uv:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    wheel = write_wheel(tmp_path, "what", "1.0")
    named = software(f"python={HERE}", {"pip": [f"what @ {wheel.as_uri()}"]}, "pip")

    job = azure.start_job(submit({"say.py": SAY}, script="say.py", **named))

    assert job.wait(deadline(60)) == "Completed", job.run.error
    assert job.log.split() == [str(job.folders[0].parents[1] / "environment"), "1.0", "None", "None"]


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({}, "only Python and what pip installs can be"),
        (software(f"python={HERE}", "cudatoolkit=11"), "only Python and what pip installs can be"),
        (software("python=2.1", {"pip": ["what"]}), "the environment of Python 2.1 cannot be built: "),
        (
            software(f"python={HERE}", {"pip": ["what @ file:///nowhere/what-1.0-py3-none-any.whl"]}),
            "cannot be built: .*what-1.0",
        ),
    ],
)
def test_what_cannot_be_built_fails_the_job_and_says_why(azure, submit, named: dict[str, object], says: str) -> None:
    job = azure.start_job(submit({"say.py": SAY}, script="say.py", **named))

    assert job.wait(deadline(60)) == "Failed"
    assert job.run.error and re.search(says, job.run.error["error"]["message"])
