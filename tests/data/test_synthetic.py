"""The drawn images: the same everywhere, varied, balanced, cached, and learnable but not at a glance."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_cifar.data import LabelledImages, shapes
from lightning_cifar.data.synthetic import SyntheticSource
from lightning_cifar.nets import Net


def made(cache_dir: Path, **sizes: int) -> SyntheticSource:
    source = SyntheticSource(cache_dir, **sizes)
    source.prepare()
    return source


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LabelledImages]:
    source = made(tmp_path_factory.mktemp("drawn"), train_size=10_000, test_size=2_000)
    return {split: source.load(split) for split in ("train", "test")}


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()


def test_splits_are_balanced_shuffled_and_in_the_form_asked_for(drawn: dict[str, LabelledImages]) -> None:
    for split, size in (("train", 10_000), ("test", 2_000)):
        images, labels = drawn[split]
        assert images.shape == (size, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [size // 10] * 10
        assert len(labels[:100].unique()) == 10


def test_no_image_is_drawn_twice_nor_shared_by_the_splits(drawn: dict[str, LabelledImages]) -> None:
    pictures = {image.numpy().tobytes() for images, _ in drawn.values() for image in images}
    assert len(pictures) == 12_000


def test_the_same_seed_draws_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    """A known sum: a change of the drawing shows here, and is to raise `shapes.VERSION`."""
    source = made(tmp_path, train_size=600, test_size=10)
    assert (shapes.VERSION, digest(source.load("train").images)[:16]) == (1, "df3602f09de99f5b")


@pytest.mark.parametrize("changed", ["version", "size"])
def test_a_changed_drawing_or_size_never_reuses_an_old_cache(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, train_size=50, test_size=10)
    if changed == "version":
        monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    monkeypatch.setattr(shapes, "draw", lambda labels, rng: np.zeros((len(labels), 32, 32, 3), np.uint8))
    after = made(tmp_path, train_size=60 if changed == "size" else 50, test_size=10)
    assert not after.load("train").images.any()


def test_net_learns_them_but_not_at_a_glance(drawn: dict[str, LabelledImages]) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    images, labels = drawn["train"]
    for block in torch.randperm(len(labels)).split(50):
        loss = torch.nn.functional.cross_entropy(net(images[block] / 127.5 - 1), labels[block])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = net(drawn["test"].images / 127.5 - 1).argmax(1) == drawn["test"].labels
    assert 0.2 < right.float().mean().item() < 0.5, "one class in ten is a guess"
