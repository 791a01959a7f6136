"""The cache of decoded images: when it is used, made anew, or left out."""

import os
import resource
import threading
from pathlib import Path

import pytest
import torch

from lightning_cifar.data.folder import CACHE_FOLDER
from tests.data.pictures import picture, prepared


def change(folder: Path, what: str) -> None:
    path, train = folder / "train" / "dog" / "1.png", folder / "train"
    status = path.stat()
    match what:
        case "name":
            path.rename(path.with_name("11.png"))
        case "time":
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        case "size":
            path.write_bytes(path.read_bytes() + b" ")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "one more":
            picture(9).save(train / "newt" / "new.png")
        case "one less":
            path.unlink()
        case "classes swapped":
            (train / "cat").rename(train / "x")
            (train / "dog").rename(train / "cat")
            (train / "x").rename(train / "dog")


def test_the_second_run_reads_no_image(folder: Path, decoded: list[int]) -> None:
    prepared(folder)
    assert decoded == [6, 12]
    again = prepared(folder)
    assert len(again.load("train").labels) == 12
    assert len(again.load("test").labels) == 6
    assert decoded == [6, 12]


@pytest.mark.parametrize("what", ["name", "time", "size", "one more", "one less", "classes swapped"])
def test_a_change_of_name_size_or_time_makes_that_split_anew(what: str, folder: Path, decoded: list[int]) -> None:
    prepared(folder)
    decoded.clear()
    change(folder, what)
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
    assert decoded == [6, 12]
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
        assert len(source.load("test").labels) == 6 and len(train.labels) == 12
    assert decoded == [6, 12], "what was decoded is kept in memory instead"
    left = [path for place in (folder / CACHE_FOLDER, private_cache) for path in place.rglob("*") if path.is_file()]
    assert left == []


def test_several_at_once_do_no_harm(folder: Path) -> None:
    sources = []
    threads = [threading.Thread(target=lambda: sources.append(prepared(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(source.load("train").labels) for source in sources] == [12] * 4
    assert sorted(path.name for path in (folder / CACHE_FOLDER).iterdir()) == ["test.npz", "train.npz"]


def test_what_was_just_decoded_is_not_read_back(folder: Path) -> None:
    source = prepared(folder)
    before = source._cache._made["train"].images
    (folder / CACHE_FOLDER / "train.npz").unlink()
    assert source.load("train").images is before
    assert source._cache._made == {}, "the data module alone holds the images now"
