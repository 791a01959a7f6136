"""Which source `--data.source` names, and when the synthetic images stand in for CIFAR-10."""

import shutil
from pathlib import Path

import pytest

from lightning_cifar.data import SOURCES, resolve_source
from lightning_cifar.data.cifar10 import DEFAULT_MIRRORS, Cifar10Source
from lightning_cifar.data.folder import FolderSource
from lightning_cifar.data.synthetic import SyntheticSource
from lightning_cifar.errors import UserError
from tests.data.stand_in import BATCH, StandIn

REFUSES = "http://127.0.0.1:1/archive"  # a port where nobody listens


def test_names_stand_for_the_built_in_sources_even_beside_folders_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cifar10", "synthetic"):
        (tmp_path / name / "train").mkdir(parents=True)
    official = resolve_source("cifar10", tmp_path)
    assert isinstance(official, Cifar10Source)
    assert official.mirrors == DEFAULT_MIRRORS
    assert isinstance(resolve_source("synthetic", tmp_path, [REFUSES]), SyntheticSource)
    assert isinstance(resolve_source("./synthetic", tmp_path), FolderSource)


def test_a_new_source_needs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "drawings", SOURCES["synthetic"])
    assert isinstance(resolve_source("drawings", tmp_path), SyntheticSource)
    with pytest.raises(UserError, match="cifar10, synthetic, drawings, or a folder"):
        resolve_source("drawing", tmp_path)


@pytest.mark.parametrize("form", ["archive", "batches"])
def test_a_folder_with_the_official_data_is_read_as_such_and_never_downloaded_to(
    form: str, tmp_path: Path, published: StandIn
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    if form == "archive":
        shutil.copy(published.archive, folder)
    else:
        shutil.copytree(published.folder, folder / published.folder.name)
    source = resolve_source(str(folder), tmp_path / "data")
    assert isinstance(source, Cifar10Source)
    assert source.mirrors == ()
    source.prepare()
    assert len(source.load("test").labels) == BATCH
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["cifar100", "/no/such/folder", ""])
def test_neither_name_nor_folder_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cifar10, synthetic, or a folder[^\n]*$"):
        resolve_source(name, tmp_path, fallback="synthetic")
