"""The official archive and its batches, sound, broken and malicious."""

import pickle
import struct
import tarfile
import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from lightning_cifar.data.archive import OFFICIAL
from lightning_cifar.data.batches import read_batch
from lightning_cifar.data.cifar10 import CLASS_NAMES, DEFAULT_MIRRORS, Cifar10Source
from lightning_cifar.errors import UserError
from tests.data.look_alike import BATCH, LookAlike, batch_of
from tests.data.misbehaving import Mirror

Make = Callable[..., Cifar10Source]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def make(data_dir: Path, look_alike: LookAlike) -> Make:
    return partial(Cifar10Source, data_dir, mirrors=(), archive=look_alike.archive, timeout=0.4)


def put_archive(data_dir: Path, data: bytes) -> Path:
    data_dir.mkdir()
    path = data_dir / OFFICIAL.file_name
    path.write_bytes(data)
    return path


def put_batches(data_dir: Path, look_alike: LookAlike, **replaced: bytes) -> Path:
    data_dir.mkdir()
    folder = look_alike.folder.rename(data_dir / OFFICIAL.folder)
    for name, content in replaced.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_official_address_is_the_last_resort() -> None:
    assert DEFAULT_MIRRORS[-1] == CIFAR10.url
    assert len(DEFAULT_MIRRORS) >= 2


def test_images_and_labels_come_out_as_they_went_in(data_dir: Path, make: Make, look_alike: LookAlike) -> None:
    put_archive(data_dir, look_alike.data)
    source = make()
    assert source.is_present()
    source.prepare()
    train, test = source.load("train"), source.load("test")
    assert train.images.shape == (5 * BATCH, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.images.is_contiguous(memory_format=torch.channels_last)
    for seed in range(5):
        batch: dict[str, Any] = batch_of(seed)
        block = slice(seed * BATCH, (seed + 1) * BATCH)
        assert np.array_equal(train.images[block].reshape(BATCH, -1).numpy(), batch["data"])
        assert train.labels[block].tolist() == batch["labels"]
    assert test.labels.tolist() == batch_of(5)["labels"]
    assert source.class_names() == list(CLASS_NAMES)


def test_absent_data_is_downloaded_once_and_torchvision_finds_it_where_it_looks(
    data_dir: Path, make: Make, mirror: Callable[..., Mirror]
) -> None:
    good = mirror()
    source = make(mirrors=[good.url])
    assert not source.is_present()
    assert source.reachable(1.0)
    good.ranges.clear()
    source.prepare()
    make().prepare()
    assert len(good.ranges) == 1
    assert make().is_present()
    assert {path.name for path in data_dir.iterdir() if not path.name.startswith(".")} == {
        CIFAR10.filename,
        CIFAR10.base_folder,
    }


def test_two_processes_at_once_download_once(make: Make, mirror: Callable[..., Mirror]) -> None:
    good = mirror("slow")
    threads = [threading.Thread(target=make(mirrors=[good.url], timeout=5).prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(good.ranges) == 1
    assert len(make().load("test").images) == BATCH


def test_no_data_and_no_mirror_names_the_remedies(make: Make, data_dir: Path) -> None:
    with pytest.raises(UserError, match=rf"^neither .*{data_dir}.*--data.mirrors[^\n]*$"):
        make().prepare()
    assert not make().reachable(0.1)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_truncated_archive_is_named_and_left_alone(
    allowed: bool, data_dir: Path, make: Make, look_alike: LookAlike
) -> None:
    path = put_archive(data_dir, look_alike.data[: len(look_alike.data) // 2])
    with pytest.raises(UserError, match=rf"^{path} is truncated[^\n]*$"):
        make(allow_unverified=allowed).prepare()
    assert {p.name for p in data_dir.iterdir() if not p.name.startswith(".")} == {path.name}
    assert path.stat().st_size == len(look_alike.data) // 2


def test_an_archive_that_is_none_is_named_even_where_anything_is_accepted(data_dir: Path, make: Make) -> None:
    path = put_archive(data_dir, b"<html>please sign in</html>")
    with pytest.raises(UserError, match=rf"^{path} is truncated or no archive[^\n]*$"):
        make(allow_unverified=True).prepare()


def test_another_archive_needs_the_flag(data_dir: Path, make: Make, look_alike: LookAlike) -> None:
    (look_alike.folder / "data_batch_3").write_bytes(pickle.dumps(batch_of(99, n=7)))
    path = data_dir / OFFICIAL.file_name
    data_dir.mkdir()
    look_alike.pack(path)
    with pytest.raises(UserError, match=r"MD5 .* instead of .*--data.allow_unverified true"):
        make().prepare()
    source = make(allow_unverified=True)
    source.prepare()
    assert len(source.load("train").labels) == 4 * BATCH + 7
    with pytest.raises(UserError, match=r"data_batch_3 is not the published batch .*--data.allow_unverified true"):
        make().load("train")


def test_an_archive_that_reaches_out_of_its_folder_writes_nothing_there(
    data_dir: Path, make: Make, look_alike: LookAlike
) -> None:
    data_dir.mkdir()
    with tarfile.open(data_dir / OFFICIAL.file_name, "w:gz") as tar:
        for name in ("../escaped", f"{OFFICIAL.folder}/../../escaped", "/tmp/escaped-from-archive"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, BytesIO(b"boo!"))
        tar.add(look_alike.folder, OFFICIAL.folder)
    source = make(allow_unverified=True)
    source.prepare()
    assert len(source.load("test").labels) == BATCH
    assert not list(data_dir.parent.glob("escaped"))
    assert not Path("/tmp/escaped-from-archive").exists()


def test_where_the_folder_takes_nothing_the_archive_is_unpacked_in_the_users_cache(
    data_dir: Path, make: Make, look_alike: LookAlike, private_cache: Path
) -> None:
    put_archive(data_dir, look_alike.data)
    (data_dir / OFFICIAL.folder).write_text("in the way, as a read-only folder would be")
    source = make()
    source.prepare()
    assert len(source.load("train").labels) == 5 * BATCH
    assert list(private_cache.rglob("data_batch_1"))


def test_a_missing_batch_is_named(data_dir: Path, make: Make, look_alike: LookAlike) -> None:
    folder = put_batches(data_dir, look_alike)
    (folder / "data_batch_4").unlink()
    with pytest.raises(UserError, match=rf"^{folder / 'data_batch_4'} is missing[^\n]*$"):
        make().load("train")


def python_2_batch(data: bytes, labels: list[int]) -> bytes:
    """The official batches' own form: protocol 2, byte strings, numpy 1 names, as Python 2 wrote them."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01" + b"K" + bytes([len(labels)]) + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"U\x0bbatch_labelU\x03oneu."


def variants() -> dict[str, bytes]:
    batch: dict[str, Any] = batch_of(0)
    made = {f"protocol {protocol}": pickle.dumps(batch, protocol) for protocol in range(6)}
    made["numpy 1 names"] = made["protocol 2"].replace(b"numpy._core", b"numpy.core")
    made["byte keys"] = pickle.dumps({key.encode(): value for key, value in batch.items()})
    made["labels in an array"] = pickle.dumps(batch | {"labels": np.array(batch["labels"], ">i4")})
    made["labels as numpy scalars"] = pickle.dumps(batch | {"labels": list(np.array(batch["labels"]))})
    made["columns first"] = pickle.dumps(batch | {"data": np.asfortranarray(batch["data"])})
    made["Python 2"] = python_2_batch(batch["data"].tobytes(), batch["labels"])
    return made


@pytest.mark.parametrize("variant", variants())
def test_batches_are_read_whoever_wrote_them(variant: str, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(variants()[variant])
    data, labels = read_batch(path, classes=10)
    expected: dict[str, Any] = batch_of(0)
    assert np.array_equal(data, expected["data"])
    assert labels.tolist() == expected["labels"]
    assert pickle.loads(path.read_bytes(), encoding="bytes"), "the plain unpickler reads it, too"


class Runs:
    """A pickle of this calls a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def malicious(marker: Path) -> dict[str, object]:
    import os
    import subprocess

    good: dict[str, Any] = batch_of(0)
    code = f"open({str(marker)!r}, 'w')"
    return {
        "a shell command": good | {"extra": Runs(os.system, f"touch {marker}")},
        "a program": good | {"extra": Runs(subprocess.check_call, ["touch", str(marker)])},
        "Python code": good | {"data": Runs(exec, code)},
        "an evaluated label": good | {"labels": Runs(eval, code)},
        "numpy writing a file": good | {"extra": Runs(np.save, str(marker), 1)},
        "an array of objects": good | {"data": np.array([[Runs(exec, code)]], dtype=object)},
        "an encoding of its own": good | {"extra": Runs(__import__("_codecs").encode, "x", "rot13")},
    }


@pytest.mark.parametrize("attack", malicious(Path("x")))
def test_a_pickle_that_tries_to_run_code_is_refused_and_runs_nothing(
    attack: str, data_dir: Path, make: Make, look_alike: LookAlike, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    folder = put_batches(data_dir, look_alike, data_batch_2=pickle.dumps(malicious(marker)[attack]))
    with pytest.raises(UserError, match=rf"^{folder / 'data_batch_2'} is no batch of CIFAR-10: it [^\n]*$"):
        make(allow_unverified=True).load("train")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            batch_of(0) | {"data": np.zeros((20, 3071), np.uint8)},
            r"\(20, 3071\) instead of uint8 \(N, 3072\)",
        ),
        (batch_of(0) | {"data": np.zeros((20, 3072), np.int64)}, "int64"),
        (batch_of(0) | {"data": np.zeros((0, 3072), np.uint8), "labels": []}, r"\(0, 3072\)"),
        (batch_of(0) | {"data": [[0] * 3072]}, "its data is list"),
        (batch_of(0) | {"labels": [0] * 19}, "one whole number for each of the 20"),
        (batch_of(0) | {"labels": [0.5] * 20}, "one whole number"),
        (batch_of(0) | {"labels": [[0], [1, 2]]}, "one whole number"),
        (batch_of(0) | {"labels": [10] * 20}, "outside 0 to 9"),
        (batch_of(0) | {"labels": [-1] * 20}, "outside 0 to 9"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "no 'labels'"),
        ([1, 2, 3], "a list instead of a dict"),
    ],
)
def test_a_batch_that_holds_something_else_is_named_with_what_it_holds(
    content: object, reason: str, data_dir: Path, make: Make, look_alike: LookAlike
) -> None:
    folder = put_batches(data_dir, look_alike, test_batch=pickle.dumps(content))
    with pytest.raises(UserError, match=rf"^{folder / 'test_batch'} is no batch of CIFAR-10: [^\n]*{reason}[^\n]*$"):
        make(allow_unverified=True).load("test")


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", pickle.dumps(batch_of(0))[:-500], b"\x80\x05\x95" + b"\xff" * 20]
)
def test_a_batch_that_is_no_pickle_is_named(content: bytes, data_dir: Path, make: Make, look_alike: LookAlike) -> None:
    folder = put_batches(data_dir, look_alike, test_batch=content)
    with pytest.raises(UserError, match=rf"^{folder / 'test_batch'} is no batch of CIFAR-10: [^\n]*$"):
        make(allow_unverified=True).load("test")


def test_an_array_whose_shape_lies_is_refused(
    tmp_path: Path, data_dir: Path, make: Make, look_alike: LookAlike
) -> None:
    lying = python_2_batch(bytes(3072), [0] * 20)
    put_batches(data_dir, look_alike, test_batch=lying)
    with pytest.raises(UserError, match="broken array"):
        make(allow_unverified=True).load("test")


def test_unverified_batches_of_other_classes_are_not_called_cifar10s(
    data_dir: Path, make: Make, look_alike: LookAlike
) -> None:
    names = {"label_names": [f"kind {i}" for i in range(10)]}
    put_batches(data_dir, look_alike, test_batch=pickle.dumps(batch_of(1)), **{"batches.meta": pickle.dumps(names)})
    with pytest.raises(UserError, match=r"names other classes .*kind 0"):
        make(allow_unverified=True).load("test")
