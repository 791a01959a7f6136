"""Putting images into a datastore, above any SDK."""

from pathlib import Path

import pytest

from lightning_cifar.data.folder import FolderSource
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


def test_files_that_training_passes_over_are_not_uploaded(images: Path) -> None:
    before = choose(images)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".cache/1.png", ".hidden.png"):
        for folder in ("train", "test/red cats"):
            (images / folder / name).parent.mkdir(exist_ok=True)
            (images / folder / name).touch()

    assert choose(images) == before
    (images / "train" / "dogs").mkdir()
    assert FolderSource(images).class_names() == ["dogs", "red cats"]


def test_of_a_folder_with_the_official_archive_only_that_is_uploaded(tmp_path: Path) -> None:
    for name in ("cifar-10-python.tar.gz", "cache.pt"):
        (tmp_path / name).touch()

    assert list(choose(tmp_path)) == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "no folder given: make upload-data DATA=FOLDER"),
        (["{images}/train"], "/train has no images in train and test; they lie in train/<class>"),
        (["{images}", "--datastore", "files"], "no datastore 'files' in workspace fake; there is: store"),
        (["{images}"], "datastore store is no blob storage; choose another with --datastore"),
    ],
)
def test_what_cannot_be_uploaded_is_named(azure: FakeAzure, images: Path, words: list[str], message: str) -> None:
    azure.store.is_blob_storage = False

    with pytest.raises(UserError, match=message):
        upload_data.main([word.format(images=images) for word in words])
