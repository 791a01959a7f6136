"""What of a folder is put into a datastore."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts import upload_data
from scripts.upload_data import choose


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images, and what is none."""
    for split in ("train", "test"):
        (tmp_path / split / "red cats").mkdir(parents=True)
        (tmp_path / split / "red cats" / "0.png").touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_files_that_training_passes_over_are_not_uploaded(images: Path) -> None:
    before = choose(images)
    assert list(before) == ["train/red cats/0.png", "test/red cats/0.png"]
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".cache/1.png", ".hidden.png"):
        for folder in ("train", "test/red cats"):
            (images / folder / name).parent.mkdir(exist_ok=True)
            (images / folder / name).touch()

    assert choose(images) == before


def test_of_a_folder_with_the_official_archive_only_that_is_uploaded(tmp_path: Path) -> None:
    for name in ("cifar-10-python.tar.gz", "cache.pt"):
        (tmp_path / name).touch()

    assert list(choose(tmp_path)) == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "no folder given: make upload-data DATA=FOLDER"),
        (["{images}/nope"], "/nope does not exist; check DATA=FOLDER"),
        (["{images}/train"], "/train has no images in train and test; they lie in train/<class>"),
        (["{images}"], "datastore files is no blob storage; choose another with --datastore"),
    ],
)
def test_what_cannot_be_uploaded_is_named(here: Mock, images: Path, words: list[str], message: str) -> None:
    files = Mock(is_blob_storage=False)
    files.name = "files"
    here.connect.return_value.datastore.return_value = files

    with pytest.raises(UserError, match=message):
        upload_data.main([word.format(images=images) for word in words])
