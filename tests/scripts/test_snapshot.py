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


def test_a_clone_full_of_data_environments_and_runs_sends_its_package_and_the_users_modules(project: Path) -> None:
    for path in ("data/cifar-10-python.tar.gz", ".venv/lib/libtorch.so", "myenv/lib/libtorch.so", ".git/objects/1"):
        write(project, path, 100_000_000)
    write(project, "myenv/pyvenv.cfg")
    for folder in ("results", "outputs"):
        write(project, f"{folder}/cifar10/version_1/checkpoints/best.ckpt", 1_000_000)
    write(project, "my_net.py")

    for root in (project, ROOT):
        taken = snapshot.take(root)
        package = {path.relative_to(root).as_posix() for path in (root / "lightning_cifar").rglob("*.py")}
        assert package | {"requirements.txt"} <= taken.files.keys()
        assert not [path for path in taken.files if path.startswith(("scripts/", "tests/", "myenv/"))]
        assert taken.size < 1_000_000
    assert "lightning_cifar/recipes/default.yaml" in taken.files
    assert "my_net.py" in snapshot.take(project).files


@pytest.mark.parametrize(
    "secret",
    [
        *("config.json", ".azureml/config.json", "aml_config/config.json", ".env", ".env.local", "deep/down/.env"),
        *(".git/config", ".netrc", ".azure/msal_token_cache.json", "key/id_rsa", "my-credentials.json", "a.pem"),
    ],
)
def test_credentials_are_never_sent_even_if_amlignore_is_empty(project: Path, secret: str) -> None:
    (project / ".amlignore").write_text("")
    write(project, secret)

    taken = snapshot.take(project)

    assert secret not in taken.files
    assert any(secret == path or secret.startswith(path) for path in taken.withheld)


def test_what_is_over_the_limits_is_an_error_whose_advice_helps(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "pictures/large.bin", 250 << 20)
    write(project, "pictures/small.bin", 60 << 20)
    write(project, "film.mp4", 40 << 20)
    with pytest.raises(UserError, match=r"350\.\d MB, more than the 300 MB .*: /pictures \(310\.0 MB, 2 files\), /f"):
        snapshot.take(project).check()

    with (project / ".amlignore").open("a") as ignore:
        ignore.write("\n/pictures\n")
    snapshot.take(project).check()

    assert snapshot.MAX_FILES == 2000
    monkeypatch.setattr(snapshot, "MAX_FILES", 50)
    for number in range(51):
        write(project, f"notes/{number}.txt")
    with pytest.raises(UserError, match=r"\d\d files, more than the 50 .*: /notes \(0 kB, 51 files\)"):
        snapshot.take(project).check()


def test_without_amlignore_nothing_is_sent(project: Path) -> None:
    (project / ".amlignore").unlink()

    with pytest.raises(UserError, match="amlignore is missing"):
        snapshot.take(project)


def test_a_line_of_amlignore_that_is_no_pattern_is_named(project: Path) -> None:
    (project / ".amlignore").write_text("!\n")

    with pytest.raises(UserError, match=r"the syntax is that of \.gitignore"):
        snapshot.take(project)
