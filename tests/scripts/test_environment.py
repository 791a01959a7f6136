"""The software of a job."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts.azure.environment import EnvironmentSpec, conda_text, read_requirements


def test_the_environments_name_changes_with_what_it_is_made_of_and_only_then(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"

    def name(text: str, gpu: bool = False, **more: str) -> str:
        file.write_text(text)
        return EnvironmentSpec(packages=read_requirements(file), **more).built_name(gpu)

    first = name("torch==2.11.0\n")
    assert name("# why\n\ntorch==2.11.0  # this one\n") == first
    others = [{"gpu": True}, {"image": "mine:1"}, {"python": "3.13"}]
    assert len({first, name("torch==2.12.0"), *(name("torch==2.11.0", **other) for other in others)}) == 5


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_requirements, "torch==2.11.0\ntorch==", "line 2: 'torch==' names no package"),
        (read_requirements, "-r other.txt", "line 1: '-r other.txt' names no package"),
        (read_requirements, "./wheel.whl", "line 1: './wheel.whl' names no package"),
        (read_requirements, "--index-url https://me:secret@host/\ntorch", "line 1: .* its user name or password"),
        (read_requirements, "# nothing\n", "names no package"),
        (conda_text, "dependencies: {", "is not valid YAML"),
        (conda_text, "- python=3.11", "names no Python version; add `- python=3.11`"),
        (conda_text, "dependencies:\n- pip", "names no Python version; add `- python=3.11`"),
        (conda_text, "dependencies:\n- pip: [https://me:secret@host/x]", "line 2: .* its user name or password"),
    ],
)
def test_requirements_and_conda_files_that_cannot_be_used_are_refused(
    tmp_path: Path, read, text: str, message: str
) -> None:
    file = tmp_path / "software"
    file.write_text(text)

    with pytest.raises(UserError, match=message) as error:
        read(file)

    assert "secret" not in str(error.value)
