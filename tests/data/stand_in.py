"""A small archive in CIFAR-10's layout, put in the place of the published one."""

import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5

from lightning_cifar.data import cifar10

BATCH = 20


def batch_of(seed: int) -> dict:
    """Return 20 random images and labels."""
    rng = np.random.default_rng(seed)
    return {"data": rng.integers(0, 256, (BATCH, 3072), np.uint8), "labels": rng.integers(0, 10, BATCH).tolist()}


@dataclass
class StandIn:
    """The archive, and the folder it was packed from."""

    archive: Path
    folder: Path

    def put_archive(self, data_dir: Path, size: int | None = None) -> Path:
        """Copy the archive, or its first bytes, into a folder."""
        data_dir.mkdir(exist_ok=True)
        path = data_dir / self.archive.name
        path.write_bytes(self.archive.read_bytes()[:size])
        return path


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Make the archive in `folder`, and let its names, sums and size be the published ones until the test ends."""
    batches = folder / CIFAR10.base_folder
    batches.mkdir(parents=True)
    for seed, (name, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        (batches / name).write_bytes(pickle.dumps(batch_of(seed)))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list(cifar10.CLASS_NAMES)}))
    archive = folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, batches.name)

    sums = {
        "tgz_md5": calculate_md5(archive),
        "train_list": [[name, calculate_md5(batches / name)] for name, _ in CIFAR10.train_list],
        "test_list": [[name, calculate_md5(batches / name)] for name, _ in CIFAR10.test_list],
        "meta": {**CIFAR10.meta, "md5": calculate_md5(batches / "batches.meta")},
    }
    monkeypatch.setattr(cifar10, "CIFAR10", type("Published", (CIFAR10,), sums))
    monkeypatch.setattr(cifar10, "ARCHIVE_BYTES", archive.stat().st_size)
    return StandIn(archive, batches)
