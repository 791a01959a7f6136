"""The official archive and its batches: as published, incomplete, altered, on a full disk."""

import errno
import os
import pickle
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from lightning_cifar.data import cifar10
from lightning_cifar.data.cifar10 import CLASS_NAMES, Cifar10Source
from lightning_cifar.errors import UserError
from tests.data.mirror import Mirror
from tests.data.stand_in import BATCH, StandIn, batch_of
from tests.deadline import deadline, wait_until


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def visible(folder: Path) -> set[str]:
    """What a user sees in a folder: all but the lock."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_images_and_labels_come_out_as_they_went_in(data_dir: Path, published: StandIn) -> None:
    published.put_archive(data_dir)
    source = Cifar10Source(data_dir, mirrors=())
    source.prepare()
    train, test = source.load("train"), source.load("test")
    assert train.images.shape == (5 * BATCH, 3, 32, 32)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.images.is_contiguous(memory_format=torch.channels_last)
    for seed in range(5):
        batch, block = batch_of(seed), slice(seed * BATCH, (seed + 1) * BATCH)
        assert np.array_equal(train.images[block].reshape(BATCH, -1).numpy(), batch["data"])
        assert train.labels[block].tolist() == batch["labels"]
    assert test.labels.tolist() == batch_of(5)["labels"]
    assert source.class_names() == list(CLASS_NAMES)


def test_absent_data_is_downloaded_once(data_dir: Path, published: StandIn, mirror: Callable[..., Mirror]) -> None:
    good = mirror(published.archive.read_bytes())
    assert not Cifar10Source(data_dir).is_present()
    for _ in range(2):
        Cifar10Source(data_dir, [good.url], timeout=deadline(1)).prepare()
    assert len(good.ranges) == 1
    assert visible(data_dir) == {CIFAR10.filename, CIFAR10.base_folder}


def test_several_processes_at_once_download_once_and_say_what_they_wait_for(
    data_dir: Path, published: StandIn, mirror: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(cifar10, "say", said.append)
    held = mirror(published.archive.read_bytes(), "stalls")
    sources = [Cifar10Source(data_dir, [held.url], timeout=deadline(10)) for _ in range(3)]
    threads = [threading.Thread(target=source.prepare) for source in sources]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum("Waiting for another process" in line for line in said) == 2)
    held.done.set()
    for thread in threads:
        thread.join()
    assert len(held.ranges) == 1
    assert len(sources[0].load("test").images) == BATCH


def test_a_truncated_archive_is_named_and_left_alone(data_dir: Path, published: StandIn) -> None:
    path = published.put_archive(data_dir, size=100_000)
    with pytest.raises(UserError, match=rf"^{path} is truncated or not the published archive[^\n]*delete it[^\n]*$"):
        Cifar10Source(data_dir).prepare()
    assert visible(data_dir) == {path.name}
    assert path.stat().st_size == 100_000


def test_where_the_folder_takes_nothing_the_archive_is_unpacked_in_the_users_cache(
    data_dir: Path, published: StandIn, private_cache: Path
) -> None:
    published.put_archive(data_dir)
    (data_dir / CIFAR10.base_folder).write_text("in the way, as a read-only folder would be")
    for _ in range(2):
        source = Cifar10Source(data_dir, mirrors=())
        source.prepare()
    assert len(source.load("train").labels) == 5 * BATCH
    assert len(list(private_cache.rglob("data_batch_1"))) == 1


def test_a_disk_that_fills_up_while_unpacking_is_one_line_and_leaves_no_batch(
    data_dir: Path, published: StandIn, private_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.put_archive(data_dir)
    extract_all = tarfile.TarFile.extractall

    def fill(tar: tarfile.TarFile, path: str, filter: str) -> None:
        extract_all(tar, path, members=tar.getmembers()[:3], filter=filter)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"^cannot unpack .*No space left[^\n]*room"):
        patch.setattr(tarfile.TarFile, "extractall", fill)
        Cifar10Source(data_dir, mirrors=()).prepare()
    assert visible(data_dir) == {CIFAR10.filename}
    assert not [path for path in private_cache.rglob("*") if path.is_file()]
    Cifar10Source(data_dir, mirrors=()).prepare()
    assert visible(data_dir) == {CIFAR10.filename, CIFAR10.base_folder}


class Runs:
    """A pickle of this calls a function."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("content", [None, "code"], ids=["missing", "code"])
def test_a_batch_that_is_not_the_published_one_is_named_and_never_unpickled(
    content: str | None, published: StandIn, tmp_path: Path
) -> None:
    batch, marker = published.folder / "data_batch_2", tmp_path / "marker"
    batch.unlink()
    if content:
        batch.write_bytes(pickle.dumps(batch_of(1) | {"extra": Runs(marker)}))
    with pytest.raises(UserError, match=rf"^{published.folder} lacks published files: delete it[^\n]*$"):
        Cifar10Source(published.folder.parent).load("train")
    assert not marker.exists()
