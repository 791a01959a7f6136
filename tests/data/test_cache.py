"""The cache of decoded images: when it is used, made anew, or left out."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_cifar.data.folder import CACHE_FOLDER
from tests.data.conftest import prepared


def test_the_second_run_reads_no_image(folder: Path, decoded: list[int]) -> None:
    prepared(folder)
    assert decoded == [6, 12]
    again = prepared(folder)
    assert len(again.load("train").labels) == 12
    assert len(again.load("test").labels) == 6
    assert decoded == [6, 12]


@pytest.mark.parametrize(
    "change",
    [
        "mv dog/1.png dog/11.png",
        "rm dog/1.png",
        "touch -d 2001-01-01 dog/1.png",
        "touch -r dog/1.png time; echo >> dog/1.png; touch -r time dog/1.png; rm time",
        "mv cat x; mv dog cat; mv x dog",
    ],
)
def test_a_change_of_name_size_or_time_makes_that_split_anew(change: str, folder: Path, decoded: list[int]) -> None:
    prepared(folder)
    decoded.clear()
    subprocess.run(change, shell=True, check=True, cwd=folder / "train")
    source = prepared(folder)
    assert len(decoded) == 1
    assert len(source.load("train").labels) == decoded[0]


def test_a_folder_that_takes_no_cache_has_it_in_the_users(
    folder: Path, decoded: list[int], private_cache: Path
) -> None:
    (folder / CACHE_FOLDER).write_text("in the way, as a read-only folder would be")
    prepared(folder)
    assert len(prepared(folder).load("train").labels) == 12
    assert decoded == [6, 12]
    assert len(list(private_cache.rglob("*.npz"))) == 2


def test_a_full_disk_costs_the_cache_but_not_the_run(
    folder: Path, decoded: list[int], private_cache: Path, files_limited_to: Callable
) -> None:
    with files_limited_to(10_000):
        with pytest.warns(UserWarning, match="without a cache"):
            source = prepared(folder)
        assert (len(source.load("train").labels), len(source.load("test").labels)) == (12, 6)
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
