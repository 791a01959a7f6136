"""Putting images into a datastore, above any SDK."""

from pathlib import Path

import pytest

from lightning_cifar.errors import UserError
from scripts import upload_data
from scripts.upload_data import choose
from tests.scripts.fakes import FakeAzure


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten images, and what is none."""
    folder = tmp_path / "my images"
    for number in range(5):
        for split in ("train", "test"):
            file = folder / split / "red cats" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{split} {number}".encode())
    (folder / "notes.txt").touch()
    return folder


def test_only_what_is_new_or_changed_is_uploaded(azure: FakeAzure, images: Path, capsys: pytest.CaptureFixture) -> None:
    assert upload_data.main([str(images)]) == 0
    assert sorted(azure.store.uploads) == sorted(f"my-images/{name}" for name in choose(images))
    assert "uploaded 10 (0 kB), 0 were there already\n" in capsys.readouterr().out

    azure.store.uploads.clear()
    upload_data.main([str(images)])
    assert azure.store.uploads == []
    assert "uploaded 0 (0 kB), 10 were there already\n" in capsys.readouterr().out

    (images / "train" / "red cats" / "0.png").write_bytes(b"TRAIN 0")  # the same size
    (images / "train" / "red cats" / "9.png").write_bytes(b"train 9")
    (images / "test" / "red cats" / "4.png").unlink()
    upload_data.main([str(images)])
    assert sorted(azure.store.uploads) == ["my-images/train/red cats/0.png", "my-images/train/red cats/9.png"]
    out = capsys.readouterr().out
    assert "note: 1 other files lie there too, for instance my-images/test/red cats/4.png" in out
    assert out.endswith("train on it: make submit DATA=store:my-images\n")


def test_an_upload_that_broke_off_goes_on_where_it_was(azure: FakeAzure, images: Path) -> None:
    azure.store.broken_after = 4
    with pytest.raises(UserError, match="call it again to go on"):
        upload_data.main([str(images)])
    azure.store.broken_after = 1000

    upload_data.main([str(images)])

    assert len(azure.store.uploads) == len(set(azure.store.uploads)) == 10


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", ".cache/1.png", ".hidden.png"])
def test_files_that_training_passes_over_are_not_uploaded(images: Path, name: str) -> None:
    from lightning_cifar.data.folder import FolderSource

    before = choose(images)
    for part in ("train", "test"):
        for file in (images / part / name, images / part / "red cats" / name):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    assert choose(images) == before
    (images / "train" / "dogs").mkdir()
    assert FolderSource(images).class_names() == ["dogs", "red cats"]


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


def test_what_cannot_take_an_upload_is_named(azure: FakeAzure, images: Path) -> None:
    with pytest.raises(UserError, match="no folder given: make upload-data DATA=FOLDER"):
        upload_data.main([""])
    with pytest.raises(UserError, match="no datastore 'files' in workspace fake; there is: store"):
        upload_data.main([str(images), "--datastore", "files"])
    azure.store.is_blob_storage = False
    with pytest.raises(UserError, match="datastore store is no blob storage; choose another with --datastore"):
        upload_data.main([str(images)])
