"""Images of one's own: decoding, the cache and everything a folder can have wrong."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_cifar.data import decode, workers
from lightning_cifar.data.folder import CACHE_FOLDER, FolderSource, read_files
from lightning_cifar.errors import UserError


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, four training images and two test images each, as lossless files."""
    root = tmp_path / "pets"
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("cat", "dog", "newt")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture(label * 100 + i + (50 if split == "test" else 0)).save(root / split / name / f"{i}.png")
    (root / ".complete").touch()
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "cat" / ".DS_Store").write_text("no image")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each decoding was asked for."""
    counts: list[int] = []
    read_all = workers.read_all

    def counting(paths, *args):  # type: ignore[no-untyped-def]
        counts.append(len(paths))
        return read_all(paths, *args)

    monkeypatch.setattr(workers, "read_all", counting)
    return counts


def prepared(folder: Path) -> FolderSource:
    source = FolderSource(folder)
    source.prepare()
    return source


@pytest.mark.parametrize("from_cache", [False, True])
def test_pixels_and_labels_come_out_in_order(from_cache: bool, folder: Path) -> None:
    source = prepared(folder)
    if from_cache:
        source = prepared(folder)
    assert source.name == "pets"
    assert source.class_names() == ["cat", "dog", "newt"]
    train, test = source.load("train"), source.load("test")
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.images.shape == (12, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(train.images[6].permute(1, 2, 0).numpy(), np.asarray(picture(102)))
    assert np.array_equal(test.images[5].permute(1, 2, 0).numpy(), np.asarray(picture(251)))


def test_the_second_run_reads_no_image(folder: Path, decoded: list[int]) -> None:
    prepared(folder)
    assert decoded == [12, 6]
    again = prepared(folder)
    assert len(again.load("train").labels) == 12
    assert len(again.load("test").labels) == 6
    assert decoded == [12, 6]


def replace_keeping_size_and_time(folder: Path) -> None:
    path = folder / "train" / "cat" / "0.png"
    path.rename(path.with_name("00.png"))


def change_time(folder: Path) -> None:
    path = folder / "train" / "dog" / "1.png"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def change_size(folder: Path) -> None:
    path = folder / "train" / "dog" / "1.png"
    status = path.stat()
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def add(folder: Path) -> None:
    picture(9).save(folder / "train" / "newt" / "new.png")


def remove(folder: Path) -> None:
    (folder / "train" / "newt" / "0.png").unlink()


def swap_classes(folder: Path) -> None:
    train = folder / "train"
    (train / "cat").rename(train / "x")
    (train / "dog").rename(train / "cat")
    (train / "x").rename(train / "dog")


@pytest.mark.parametrize("change", [replace_keeping_size_and_time, change_time, change_size, add, remove, swap_classes])
def test_a_change_of_name_size_or_time_makes_that_split_anew(change, folder: Path, decoded: list[int]) -> None:  # type: ignore[no-untyped-def]
    prepared(folder)
    decoded.clear()
    change(folder)
    source = prepared(folder)
    assert len(decoded) == 1
    assert len(source.load("train").labels) == decoded[0]


@pytest.mark.parametrize("damage", ["truncated", "flipped byte", "empty", "foreign"])
def test_a_damaged_cache_is_made_anew(damage: str, folder: Path, decoded: list[int]) -> None:
    expected = prepared(folder).load("train").images
    path = folder / CACHE_FOLDER / "train.npz"
    content = bytearray(path.read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-2000], "empty": b"", "foreign": b"PK\x03\x04 no"}.get(damage, content))
    decoded.clear()
    assert torch.equal(prepared(folder).load("train").images, expected)
    assert decoded == [12]
    assert torch.equal(prepared(folder).load("train").images, expected)
    assert decoded == [12]


def test_a_folder_that_takes_no_cache_has_it_in_the_users(
    folder: Path, decoded: list[int], private_cache: Path
) -> None:
    (folder / CACHE_FOLDER).write_text("in the way, as a read-only folder would be")
    prepared(folder)
    assert len(prepared(folder).load("train").labels) == 12
    assert decoded == [12, 6]
    assert len(list(private_cache.rglob("*.npz"))) == 2


def test_a_full_disk_costs_the_cache_but_not_the_run(folder: Path, decoded: list[int], private_cache: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.warns(UserWarning, match="without a cache"):
            source = prepared(folder)
        train = source.load("train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(train.images, source.load("train").images)
    assert decoded == [12, 6], "what was decoded is kept in memory instead"
    left = [path for place in (folder / CACHE_FOLDER, private_cache) for path in place.rglob("*") if path.is_file()]
    assert left == []


def test_what_a_killed_process_left_is_cleared_away_but_not_what_is_being_written(folder: Path) -> None:
    (folder / CACHE_FOLDER).mkdir()
    old, new = (folder / CACHE_FOLDER / f".unfinished-{age}" for age in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    prepared(folder)
    assert not old.exists()
    assert new.exists()


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
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert size == (32, 32)
    assert 100 < pixels.mean() < 156


def test_other_sizes_are_resized_with_a_warning_that_counts_them(folder: Path) -> None:
    for i in range(2):
        Image.new("RGB", (200, 100), (10, 200, 30)).save(folder / "train" / "cat" / f"wide{i}.jpg", quality=95)
    picture(5, (5, 7)).save(folder / "train" / "dog" / "tiny.png")
    with pytest.warns(UserWarning, match=r"3 of 15 train images were resized to 32x32 \(2 of 200x100, 1 of 5x7\)"):
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
        case "file for a folder":
            train.rename(folder / "elsewhere")
            train.write_text("")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no image", r"train/dog/2\.png is not an image"),
        ("truncated", r"test/dog/1\.png is not an image"),
        ("class in test only", r"test/axolotl has no counterpart in .*train"),
        ("one class", r"train holds only one class, newt"),
        ("no class", r"train holds no class folders"),
        ("no train", r"cannot read .*train \(No such file.*train/<class>"),
        ("no test", r"cannot read .*test \(No such file.*test/<class>"),
        ("empty class", r"train/newt holds no images"),
        ("empty test", r"test holds no images"),
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


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """Enough files for two workers."""
    paths = []
    for i in range(50):
        picture(i).save(tmp_path / f"{i}.png")
    for i in range(2100):
        path = tmp_path / f"link{i}.png"
        path.symlink_to(tmp_path / f"{i % 50}.png")
        paths.append(str(path))
    return paths


def test_many_files_are_shared_out_and_land_in_place(many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    start = workers._start
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    monkeypatch.setattr(workers, "_start", lambda: started.append(None) or start())
    counted: list[int] = []
    images, (other_sizes, unreadable) = workers.read_all(many, counted.append)
    assert len(started) == 2
    assert sum(counted) == len(many)
    assert not other_sizes and not unreadable
    expected = np.stack([np.asarray(picture(i)) for i in range(50)])
    assert np.array_equal(images, expected[np.arange(len(many)) % 50])


def test_all_unreadable_files_among_many_are_found_together(many: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "brökèn\udcff.png"  # not even its name is text
    broken.write_bytes(b"no image")
    other = tmp_path / "broken.png"
    other.write_bytes(b"")
    many[0], many[300], many[-1] = str(broken), str(other), str(broken)  # in the lists of both workers
    images, found = workers.read_all(many)
    assert [path for path, _ in found.unreadable] == [str(other), str(broken), str(broken)]
    assert np.array_equal(images[1], np.asarray(picture(1)))
    with pytest.raises(UserError, match=r"broken.png is not an image .*, nor are 2 more: remove or replace them \("):
        read_files(many, "train")


def test_an_error_names_some_of_many_unreadable_files(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i:02}.png") for i in range(30)]
    with pytest.raises(UserError, match=r"00.png .*, nor are 29 more: .*01.png, .*09.png, …\)$") as caught:
        read_files(paths, "train")
    assert "10.png" not in str(caught.value)


def test_a_worker_that_dies_is_an_error_and_not_a_wait(many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def dies() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["false"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(workers, "_start", dies)
    with pytest.raises(RuntimeError, match=r"ended unexpectedly \(exit code 1\)"):
        workers.read_all(many)


def test_workers_load_neither_torch_nor_the_package() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({decode.__file__!r})\n"
        "print([name for name in sys.modules if 'torch' in name or 'cifar' in name])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_two_processes_at_once_do_no_harm(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lightning_cifar.data.folder import FolderSource\n"
        "FolderSource(Path(sys.argv[1])).prepare()"
    )
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert sorted(path.name for path in (folder / CACHE_FOLDER).iterdir()) == ["test.npz", "train.npz"]


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


def test_a_link_to_nowhere_is_named(folder: Path) -> None:
    (folder / "train" / "cat" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"cannot read .*cat/gone.png \(No such file or directory\): remove it"):
        prepared(folder)
