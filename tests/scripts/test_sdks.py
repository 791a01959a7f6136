"""Which SDK a command takes: the one that is asked for, and no other is imported or needed."""

import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import submitter
from tests.scripts.conftest import ROOT

_IMPORTED = """
import sys
from scripts import rehearse, runs, submit, upload_data
from scripts.azure import submitter
{then}
print([name for name in ("azureml", "azure.ai.ml", "azure.identity", "azure.core") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("then", "imported"),
    [
        ("", []),
        ("submitter.load('v1')", ["azureml", "azure.core"]),  # of which SDK v1 is made itself
        ("submitter.load('v2')", ["azure.ai.ml", "azure.identity", "azure.core"]),
    ],
)
def test_only_the_sdk_that_is_asked_for_is_imported(then: str, imported: list[str]) -> None:
    code = [sys.executable, "-c", _IMPORTED.format(then=then)]

    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == f"{imported}\n"


@pytest.mark.parametrize(("sdk", "package"), [("v1", "azureml-core"), ("v2", "azure-ai-ml"), ("v2", "azure-identity")])
def test_an_sdk_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, sdk: str, package: str
) -> None:
    def version(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)

    with pytest.raises(
        UserError, match=rf"SDK {sdk} is not installed here; {sys.executable} -m pip install .*{package}==\d"
    ):
        submitter.load(sdk)


def test_the_versions_are_those_of_the_extra_and_of_the_tests() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    tests = (ROOT / "tests" / "requirements.txt").read_text().splitlines()

    assert set(submitter.PACKAGES["v2"]) <= set(extras["v2"])
    assert set(submitter.PACKAGES["v2"]) <= {line.partition(" ")[0] for line in tests}
