"""A small archive in the official layout."""

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_cifar.data.archive import OFFICIAL, Archive

BATCH = 20


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def batch_of(seed: int, n: int = BATCH) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    return {
        "data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        "labels": rng.integers(0, 10, n).tolist(),
    }


@dataclass
class LookAlike:
    """An archive like the official one, with 20 images a batch."""

    path: Path
    folder: Path
    archive: Archive
    data: bytes

    def pack(self, path: Path) -> Archive:
        """Pack the folder anew, as it is now, and describe the result."""
        with tarfile.open(path, "w:gz") as tar:
            tar.add(self.folder, self.folder.name)
        return describe(path, self.folder)


def describe(path: Path, folder: Path) -> Archive:
    return Archive(
        file_name=OFFICIAL.file_name,
        size=path.stat().st_size,
        md5=md5(path),
        folder=OFFICIAL.folder,
        train={name: md5(folder / name) for name in OFFICIAL.train},
        test={name: md5(folder / name) for name in OFFICIAL.test},
        meta=("batches.meta", md5(folder / "batches.meta")),
    )
