"""Images of one's own: what a folder holds, and everything it can have wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_cifar.data.folder import FolderSource
from lightning_cifar.errors import UserError
from tests.data.pictures import picture, prepared


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


def spoil(folder: Path, how: str) -> None:
    train, test = folder / "train", folder / "test"
    match how:
        case "no image":
            (train / "dog" / "2.png").write_text("no image")
        case "truncated":
            path = test / "dog" / "1.png"
            path.write_bytes(path.read_bytes()[:1500])
        case "class in test only":
            (test / "axolotl").mkdir()
        case "one class":
            for name in ("cat", "dog"):
                for split in (train, test):
                    (split / name).rename(folder / f"{split.name}-{name}")
        case "no class":
            train.rename(folder / "elsewhere")
            train.mkdir()
        case "no train":
            train.rename(folder / "elsewhere")
        case "no test":
            test.rename(folder / "elsewhere")
        case "empty class":
            for path in (train / "newt").iterdir():
                path.unlink()
        case "empty test":
            for path in test.glob("*/*"):
                path.unlink()
        case "link to nowhere":
            (train / "cat" / "gone.png").symlink_to("nowhere.png")
        case "file for a folder":
            train.rename(folder / "elsewhere")
            train.write_text("")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no image", r"cannot read 1 of 12 train images: .*train/dog/2\.png \("),
        ("truncated", r"cannot read 1 of 6 test images: .*test/dog/1\.png \("),
        ("class in test only", r"test/axolotl has no counterpart in .*train"),
        ("one class", r"train holds only one class, newt"),
        ("no class", r"train holds no class folders"),
        ("no train", r"cannot read .*train \(No such file.*train/<class>"),
        ("no test", r"cannot read .*test \(No such file.*test/<class>"),
        ("empty class", r"train/newt holds no images"),
        ("empty test", r"test holds no images"),
        ("link to nowhere", r"cannot read .*cat/gone.png \(No such file or directory\)"),
        ("file for a folder", r"cannot read .*train \(Not a directory"),
    ],
)
def test_a_bad_folder_is_one_line_that_names_the_place(how: str, message: str, folder: Path) -> None:
    spoil(folder, how)
    with pytest.raises(UserError, match=message) as caught:
        prepared(folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.rglob(".unfinished-*"))


def test_a_class_without_test_images_is_a_warning(folder: Path) -> None:
    for path in (folder / "test" / "newt").iterdir():
        path.unlink()
    (folder / "test" / "newt").rmdir()
    with pytest.warns(UserWarning, match="no test images of class newt"):
        source = prepared(folder)
    assert source.load("test").labels.tolist() == [0, 0, 1, 1]


def test_class_names_read_no_image(folder: Path) -> None:
    spoil(folder, "no image")
    assert FolderSource(folder).class_names() == ["cat", "dog", "newt"]


@pytest.mark.parametrize("litter", ["train/loose.png", "train/cat/more/1.png", "test/readme.txt"])
def test_what_lies_elsewhere_than_in_a_class_folder_is_passed_over_with_a_warning(folder: Path, litter: str) -> None:
    (folder / litter).parent.mkdir(exist_ok=True)
    picture(1).save(folder / litter, "png")
    (folder / "train" / "cat" / "Thumbs.db").write_text("no image, and none of the user's")
    split, _, name = litter.partition("/")
    where = folder / split / name.removesuffix("/1.png")
    with pytest.warns(
        UserWarning, match=f"passed over {where}: images belong directly into {split}/<class>/"
    ) as caught:
        source = prepared(folder)
    assert len(caught) == 1
    assert len(source.load("train").labels) == 12 and len(source.load("test").labels) == 6
