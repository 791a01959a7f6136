"""Images of one's own: what a folder holds, and everything it can have wrong."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_cifar.data.folder import FolderSource
from lightning_cifar.errors import UserError
from tests.data.conftest import picture, prepared


@pytest.mark.parametrize("from_cache", [False, True])
def test_pixels_and_labels_come_out_in_order(from_cache: bool, folder: Path) -> None:
    source = prepared(folder)
    if from_cache:
        source = prepared(folder)
    assert (source.name, source.class_names()) == ("pets", ["cat", "dog", "newt"])
    train, test = source.load("train"), source.load("test")
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.images.shape == (12, 3, 32, 32)
    assert (train.images.dtype, train.labels.dtype) == (torch.uint8, torch.int64)
    assert train.images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(train.images[6].permute(1, 2, 0).numpy(), np.asarray(picture(102)))
    assert np.array_equal(test.images[5].permute(1, 2, 0).numpy(), np.asarray(picture(251)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("echo no image > train/dog/2.png", r"cannot read 1 of 12 train images: .*train/dog/2\.png \("),
        ("truncate -s 1500 test/dog/1.png", r"cannot read 1 of 6 test images: .*test/dog/1\.png \("),
        ("mkdir test/axolotl", r"test/axolotl has no counterpart in .*train"),
        ("rm -r */cat */dog", r"train holds only one class, newt"),
        ("rm -r train/*", r"train holds no class folders"),
        ("rm -r train", r"cannot read .*train \(No such file.*train/<class>"),
        ("rm -r test", r"cannot read .*test \(No such file.*test/<class>"),
        ("rm train/newt/*", r"train: Found no valid file for the classes newt; put images there"),
        ("rm test/*/*", r"test holds no images"),
        ("ln -s nowhere.png train/cat/gone.png", r"cannot read .*cat/gone.png \(No such file or directory\)"),
        ("rm -r train; touch train", r"cannot read .*train \(Not a directory"),
    ],
)
def test_a_bad_folder_is_one_line_that_names_the_place(spoil: str, message: str, folder: Path) -> None:
    subprocess.run(spoil, shell=True, check=True, cwd=folder)
    with pytest.raises(UserError, match=message) as caught:
        prepared(folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.rglob(".unfinished-*"))


def test_a_class_without_test_images_is_a_warning(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "newt")
    with pytest.warns(UserWarning, match="no test images of class newt"):
        source = prepared(folder)
    assert source.load("test").labels.tolist() == [0, 0, 1, 1]


def test_class_names_read_no_image(folder: Path) -> None:
    (folder / "train" / "dog" / "2.png").write_text("no image")
    assert FolderSource(folder).class_names() == ["cat", "dog", "newt"]


def test_what_is_hidden_or_in_no_class_folder_is_passed_over(folder: Path) -> None:
    for litter in ("train/loose.png", "train/cat/.more/1.png", "test/readme.txt", "train/cat/Thumbs.db", ".x/1.png"):
        (folder / litter).parent.mkdir(exist_ok=True)
        picture(1).save(folder / litter, "png")
    source = prepared(folder)
    assert len(source.load("train").labels) == 12 and len(source.load("test").labels) == 6
