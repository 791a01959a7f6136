"""The software of a job."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts.azure.environment import EnvironmentSpec, conda_text, read_named, requirement_lines


def test_the_environments_name_changes_with_what_it_is_made_of_and_only_then(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"

    def name(text: str, gpu: bool = False, image: str | None = None) -> str:
        file.write_text(text)
        return EnvironmentSpec(requirements=file, image=image).built_name(gpu)

    first = name("torch==2.11.0\n")
    assert name("# why\n\ntorch==2.11.0  # this one\n") == first
    others = {name("torch==2.12.0"), name("torch==2.11.0", gpu=True), name("torch==2.11.0", image="mine:1")}
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch==2.11.0\ntorch==", "line 2"),
        ("torch 2.11", "line 1"),
        ("-r other.txt", "file of this machine"),
        ("./wheel.whl", "file of this machine"),
        ("--extra-index-url https://me:secret@host/simple\ntorch", "line 1 holds a user name or password"),
        ("# nothing\n", "names no package"),
    ],
)
def test_requirements_that_mean_nothing_elsewhere_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)

    with pytest.raises(UserError, match=message) as error:
        requirement_lines(file)

    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: {", "is no YAML"),
        ("- python=3.11", "no list called dependencies"),
        ("dependencies:\n- pip", "names no Python version; add `- python=3.11`"),
        ("dependencies:\n- python=3.11\n- pip: [https://me:secret@host/x.whl]", "line 3 holds a user name or password"),
    ],
)
def test_conda_files_that_make_no_environment_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "conda.yml"
    file.write_text(text)

    with pytest.raises(UserError, match=message) as error:
        conda_text(file)

    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_environment_has_a_name_and_may_have_a_version() -> None:
    assert read_named("mine") == ("mine", None)
    assert read_named("mine:3") == ("mine", "3")
    with pytest.raises(UserError, match="has no name"):
        read_named(":3")
