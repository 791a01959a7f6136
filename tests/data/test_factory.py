"""What `--data.source` can say, and which source that is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cifar.data.cifar10 import DEFAULT_MIRRORS, Cifar10Source
from lightning_cifar.data.factory import make_source
from lightning_cifar.data.folder import FolderSource
from lightning_cifar.data.synthetic import SyntheticSource
from lightning_cifar.errors import UserError
from tests.data.look_alike import LookAlike


def test_names_stand_for_the_built_in_sources_even_beside_folders_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cifar10", "synthetic"):
        (tmp_path / name / "train").mkdir(parents=True)
    official = make_source("cifar10", tmp_path)
    assert isinstance(official, Cifar10Source)
    assert official.mirrors == DEFAULT_MIRRORS
    assert isinstance(make_source("synthetic", tmp_path), SyntheticSource)
    assert isinstance(make_source("./synthetic", tmp_path), FolderSource)


def test_mirrors_and_flag_reach_the_official_source(tmp_path: Path) -> None:
    source = make_source("cifar10", tmp_path, ["http://127.0.0.1:1/x"], allow_unverified=True)
    assert isinstance(source, Cifar10Source)
    assert source.mirrors == ("http://127.0.0.1:1/x",)
    assert source.allow_unverified


@pytest.mark.parametrize("form", ["archive", "batches", "the batches' own folder"])
def test_a_folder_with_the_official_data_is_read_as_such_and_never_downloaded_to(
    form: str, tmp_path: Path, look_alike: LookAlike
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    if form == "archive":
        shutil.copy(look_alike.path, folder)
    else:
        shutil.copytree(look_alike.folder, folder / look_alike.folder.name)
    named = folder / look_alike.folder.name if form == "the batches' own folder" else folder
    source = make_source(str(named), tmp_path / "data", allow_unverified=True)
    assert isinstance(source, Cifar10Source)
    assert source.mirrors == ()
    source.prepare()
    assert len(source.load("test").labels) == 20
    assert not (tmp_path / "data").exists()


def test_a_folder_that_holds_nothing_is_told_what_it_should_hold(tmp_path: Path) -> None:
    source = make_source(str(tmp_path), tmp_path)
    with pytest.raises(UserError, match=r"train/<class>"):
        source.class_names()


@pytest.mark.parametrize("name", ["cifar100", "/no/such/folder", ""])
def test_neither_name_nor_folder_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cifar10, synthetic, or a folder[^\n]*$"):
        make_source(name, tmp_path)


def test_the_package_of_sources_imports_no_torch() -> None:
    code = "import sys, lightning_cifar.data.folder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
