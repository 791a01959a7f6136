"""What the tests of the sources share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_cifar.data import folder as images
from lightning_cifar.data.folder import FolderSource
from tests.data.mirror import Mirror
from tests.data.stand_in import StandIn, publish


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Return a random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def prepared(folder: Path) -> FolderSource:
    """Return a source that has decoded a folder or found it in its cache."""
    source = FolderSource(folder)
    source.prepare()
    return source


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves anything in the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "lightning-cifar"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A small archive that counts as the published one."""
    return publish(tmp_path / "origin", monkeypatch)


@pytest.fixture
def mirror() -> Iterator[Callable[..., Mirror]]:
    """Start servers of some bytes: `mirror(data, "drops", "well")` drops once, then behaves."""
    running: list[Mirror] = []

    def start(data: bytes, *manners: str) -> Mirror:
        running.append(Mirror(data, list(manners or ("well",))))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, four training images and two test images each, as lossless files; and hidden ones."""
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
    read_files = images.read_files

    def counting(paths: list[str], what: str) -> np.ndarray:
        counts.append(len(paths))
        return read_files(paths, what)

    monkeypatch.setattr(images, "read_files", counting)
    return counts
