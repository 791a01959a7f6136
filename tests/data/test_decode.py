"""Image files of any format, size and state to 32x32 RGB."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from lightning_cifar.data import decode, progress
from lightning_cifar.data.decode import read_files
from lightning_cifar.errors import UserError
from tests.data.conftest import picture, prepared


@pytest.mark.parametrize(
    ("mode", "name"),
    [(m, "x.png") for m in ("L", "RGBA", "LA", "I;16")]
    + [("P", "x.gif"), ("1", "x.bmp"), ("CMYK", "x.jpg"), ("RGB", "x.webp"), ("RGB", "x.tiff")],
)
def test_any_format_and_mode_becomes_rgb(mode: str, name: str, tmp_path: Path) -> None:
    if mode == "I;16":
        Image.fromarray(np.full((32, 32), 128 * 256, np.uint16)).save(tmp_path / name)
    else:
        Image.new("RGB", (32, 32), (128, 128, 128)).convert(mode).save(tmp_path / name)
    pixels, size = decode.read_image(tmp_path / name)
    assert (pixels.shape, pixels.dtype, size) == ((32, 32, 3), np.uint8, (32, 32))
    assert 100 < pixels.mean() < 156


def test_other_sizes_are_resized_with_a_warning_that_counts_them(folder: Path) -> None:
    for i in range(2):
        Image.new("RGB", (200, 100), (10, 200, 30)).save(folder / "train" / "cat" / f"wide{i}.jpg", quality=95)
    picture(5, (5, 7)).save(folder / "train" / "dog" / "tiny.png")
    with pytest.warns(UserWarning, match="3 of 15 train images were resized to 32x32"):
        source = prepared(folder)
    wide = source.load("train").images[4].float()
    assert (wide.mean(dim=(1, 2)) - torch.tensor([10.0, 200.0, 30.0])).abs().max() < 4


def test_a_photo_lying_on_its_side_is_put_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 32, 16))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image.save(tmp_path / "x.png", exif=exif)
    pixels, _ = decode.read_image(tmp_path / "x.png")
    assert pixels[:, 20:].mean() > 250
    assert pixels[:, :12].mean() < 5


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """Enough files for many blocks."""
    for i in range(7):
        picture(i).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i % 7}.png") for i in range(1000)]


def test_many_files_land_in_place(many: list[str]) -> None:
    expected = np.stack([np.asarray(picture(i)) for i in range(7)])
    assert np.array_equal(read_files(many, "train"), expected[np.arange(1000) % 7])


def test_all_unreadable_files_among_many_are_found_together_and_the_first_are_named(
    many: list[str], tmp_path: Path
) -> None:
    for i in range(30):
        broken = tmp_path / f"{i:02}-brökèn\udcff.png"  # not even its name is text
        broken.write_bytes(b"no image"[: i % 9])
        many[30 * i] = str(broken)
    names = r".*00-br.*\), .*01-br.*\), .*09-br.*\), …; remove or replace them$"
    with pytest.raises(UserError, match=rf"cannot read 30 of 1000 train images: {names}") as caught:
        read_files(many, "train")
    assert "10-br" not in str(caught.value)


def test_a_terminal_shows_a_bar_and_a_log_one_line(many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        printed = io.StringIO()
        monkeypatch.setattr(progress, "console", Console(file=printed, width=100, force_terminal=terminal))
        read_files(many, "train")
        assert printed.getvalue().startswith("Decoding 1,000 train images ...\n")
        assert ("━" in printed.getvalue() and "100%" in printed.getvalue()) == terminal
