"""Putting images into the workspace's datastore."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts import upload_data
from scripts.emulator import Emulator
from scripts.upload_data import choose
from tests.scripts.conftest import call_all


def make_images(folder: Path) -> Path:
    for number in range(5):
        for split in ("train", "test"):
            file = folder / split / "red cats" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{split} {number}".encode())
    (folder / "train" / ".DS_Store").touch()
    (folder / "notes.txt").touch()
    return folder


def test_images_are_uploaded_once_and_then_found_by_a_job(project: Path, service: Emulator, tmp_path: Path) -> None:
    service.write_config(project)
    images = make_images(tmp_path / "my images")
    environment = service.client_environment()
    upload = ("upload_data", [str(images)])

    first, again = call_all([upload, upload], project, environment)
    (images / "train" / "red cats" / "0.png").write_bytes(b"TRAIN 0")
    (images / "train" / "red cats" / "9.png").write_bytes(b"train 9")
    third, run = call_all([upload, ("submit", ["--data", "workspaceblobstore:my-images"])], project, environment)

    assert [outcome.code for outcome in (first, again, third, run)] == [0] * 4, (first, again, third, run)
    assert "uploaded 10 " in first.out
    assert "uploaded 0 (0 kB), 10 were there already" in again.out
    assert "uploaded 2 " in third.out
    assert "make submit DATA=workspaceblobstore:my-images" in first.out
    held = {path: content for path, content in service.datastore().items() if path.startswith("my-images/")}
    assert len(held) == 11
    assert held["my-images/train/red cats/0.png"] == b"TRAIN 0"
    assert "my-images/test/red cats/4.png" in held


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "is no folder"),
        (lambda folder: folder.mkdir(), "has no train and no test folder"),
        (lambda folder: (folder / "train" / "cat").mkdir(parents=True), "has no test folder"),
        (lambda folder: [(folder / part).mkdir(parents=True) for part in ("train", "test")], "holds no files"),
    ],
)
def test_what_holds_no_images_is_refused(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "images")  # type: ignore[operator]

    with pytest.raises(UserError, match=message):
        choose(tmp_path / "images")


def test_of_a_folder_with_the_official_archive_only_that_is_uploaded(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").touch()
    (tmp_path / "cache.pt").touch()

    assert list(choose(tmp_path)) == ["cifar-10-python.tar.gz"]


def test_an_upload_that_breaks_off_says_how_to_go_on(project: Path, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images")
    with Emulator() as service:
        service.write_config(project)
        service.misbehave("403", on="blobs")
        (outcome,) = call_all([("upload_data", [str(images)])], project, service.client_environment())
        assert not service.datastore()

    assert outcome.code == 1
    assert outcome.last.startswith("error: not allowed: "), outcome.last


def test_make_upload_data_without_data_says_what_is_missing() -> None:
    with pytest.raises(UserError, match="no folder given: make upload-data DATA=FOLDER"):
        upload_data.main([""])
