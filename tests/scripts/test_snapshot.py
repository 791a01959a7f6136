"""What goes along with a job, and what never does."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import snapshot
from tests.scripts.conftest import ROOT


def write(folder: Path, path: str, size: int = 10) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.truncate(size)


def test_a_clone_full_of_data_environments_and_runs_sends_less_than_a_megabyte(project: Path) -> None:
    for path in ("data/cifar-10-python.tar.gz", ".venv/lib/libtorch.so", "myenv/lib/libtorch.so", ".git/objects/1"):
        write(project, path, 100_000_000)
    write(project, "myenv/pyvenv.cfg")
    for run in range(10):
        write(project, f"results/cifar10/version_{run}/checkpoints/best.ckpt", 1_000_000)
        write(project, f"outputs/cifar10/version_{run}/events.out.tfevents.1", 1_000_000)
    write(project, "my_net.py")

    taken = snapshot.take(project)

    assert taken.size < 1_000_000
    assert {"lightning_cifar/__main__.py", "requirements.txt", "my_net.py"} <= taken.files.keys()
    assert not [path for path in taken.files if not path.startswith(("lightning_cifar/", "requirements", "my_net"))]
    taken.check()


def test_the_projects_own_snapshot_holds_its_package_and_nothing_of_its_scripts_and_tests() -> None:
    taken = snapshot.take(ROOT)

    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lightning_cifar").rglob("*.py")}
    assert package | {"lightning_cifar/recipes/default.yaml"} <= taken.files.keys()
    assert not [path for path in taken.files if path.startswith(("scripts/", "tests/"))]
    assert taken.size < 1_000_000


@pytest.mark.parametrize(
    "secret",
    [
        *("config.json", ".azureml/config.json", "aml_config/config.json", ".env", ".env.local", "deep/down/.env"),
        *(".git/config", ".netrc", ".azure/msal_token_cache.json", "key/id_rsa", "my-credentials.json", "a.pem"),
    ],
)
def test_sign_in_stays_here_even_if_amlignore_is_emptied(project: Path, secret: str) -> None:
    (project / ".amlignore").write_text("")
    write(project, secret)

    taken = snapshot.take(project)

    assert secret not in taken.files
    assert any(secret == path or secret.startswith(path) for path in taken.withheld)


def test_too_many_bytes_are_an_error_whose_advice_helps(project: Path) -> None:
    write(project, "pictures/large.bin", 250 << 20)
    write(project, "pictures/small.bin", 60 << 20)
    write(project, "film.mp4", 40 << 20)

    with pytest.raises(UserError, match=r"350\.\d MB.*more than the 300 MB") as error:
        snapshot.take(project).check()

    assert "310.0 MB in 2 files → /pictures/" in str(error.value)
    assert "40.0 MB → /film.mp4" in str(error.value)
    with (project / ".amlignore").open("a") as ignore:
        ignore.write("\n/pictures/large.bin\n")
    snapshot.take(project).check()


def test_too_many_files_are_an_error_that_names_the_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert snapshot.MAX_FILES == 2000
    monkeypatch.setattr(snapshot, "MAX_FILES", 50)
    for number in range(51):
        write(project, f"notes/{number}.txt")

    with pytest.raises(UserError, match=r"\d\d files, more than the 50.*in 51 files → /notes/"):
        snapshot.take(project).check()


def test_without_amlignore_nothing_is_sent(project: Path) -> None:
    (project / ".amlignore").unlink()

    with pytest.raises(UserError, match="amlignore is missing"):
        snapshot.take(project)
