"""A small archive in CIFAR-10's layout, put in the place of the published one."""

import hashlib
import pickle
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from lightning_cifar.data import cifar10

BATCH = 20


def batch_of(seed: int) -> dict:
    """Return 20 random images and labels."""
    rng = np.random.default_rng(seed)
    return {"data": rng.integers(0, 256, (BATCH, 3072), np.uint8), "labels": rng.integers(0, 10, BATCH).tolist()}


def pickled(images: bytes, labels: list[int]) -> bytes:
    """Return a batch in the published files' own form: as Python 2 and numpy 1 pickled it."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K" + bytes([len(labels)]) + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", len(images)) + images + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"U\x0bbatch_labelU\x03oneu."


@dataclass
class StandIn:
    """The archive, the folder it was packed from, and the torchvision dataset that holds their names and MD5 sums."""

    archive: Path
    folder: Path
    dataset: type[CIFAR10]

    def put_archive(self, data_dir: Path, size: int | None = None) -> Path:
        """Copy the archive, or its first bytes, into a folder."""
        data_dir.mkdir(exist_ok=True)
        path = data_dir / self.archive.name
        path.write_bytes(self.archive.read_bytes()[:size])
        return path

    def put_batches(self, data_dir: Path, **replaced: bytes) -> Path:
        """Move the batches into a folder, some with another content."""
        data_dir.mkdir(exist_ok=True)
        folder = self.folder.rename(data_dir / self.folder.name)
        for name, content in replaced.items():
            (folder / name).write_bytes(content)
        return folder


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Make the archive in `folder`, and let its names, sums and size be the published ones until the test ends."""
    batches = folder / CIFAR10.base_folder
    batches.mkdir(parents=True)
    for seed, (name, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        batch = batch_of(seed)
        (batches / name).write_bytes(pickled(batch["data"].tobytes(), batch["labels"]))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list(cifar10.CLASS_NAMES)}))
    archive = folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, batches.name)

    def md5(path: Path) -> str:
        return hashlib.md5(path.read_bytes()).hexdigest()

    def with_sums(files: list) -> list:
        return [[name, md5(batches / name)] for name, _ in files]

    class Published(CIFAR10):
        tgz_md5 = md5(archive)
        train_list = with_sums(CIFAR10.train_list)
        test_list = with_sums(CIFAR10.test_list)
        meta = {**CIFAR10.meta, "md5": md5(batches / "batches.meta")}  # noqa: RUF012  # as in torchvision

    monkeypatch.setattr(cifar10, "CIFAR10", Published)
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", archive.stat().st_size)
    return StandIn(archive, batches, Published)
