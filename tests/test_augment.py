"""Augmentation: each image of a batch is shifted and mirrored in its own way."""

import pytest
import torch

from lightning_cifar.augment import Augment
from lightning_cifar.data import LabelledImages
from lightning_cifar.loader import BatchLoader, TrainSampler


def moved(images: torch.Tensor, flips: torch.Tensor | None = None, **settings) -> torch.Tensor:
    flips = torch.zeros(len(images), dtype=torch.bool) if flips is None else flips
    return Augment(**settings)(images, flips, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("padding", [2, 4])
def test_crop_flip_shifts_by_at_most_the_padding_and_mirrors_every_other_image(padding):
    marked = torch.zeros(400, 3, 32, 32, dtype=torch.uint8)
    marked[:, :, 16, 10] = 255
    result = moved(marked, kind="crop_flip", padding=padding)
    assert result.shape == marked.shape and result.dtype == marked.dtype
    places = {tuple(place) for place in (result[:, 0] == 255).nonzero()[:, 1:].tolist()}
    shifts = range(-padding, padding + 1)
    straight = {(16 + down, 10 + right) for down in shifts for right in shifts}
    mirrored = {(row, 31 - column) for row, column in straight}
    assert places <= straight | mirrored
    assert {row for row, _ in places} == {row for row, _ in straight}, "every shift occurs"
    assert 160 < (result[:, 0, :, 16:] == 255).sum() < 240, "every other one is mirrored"


@pytest.mark.parametrize(("mode", "smallest"), [("zero", 0), ("reflect", 7)])
def test_what_moves_in_is_zero_or_the_images_own_edge(mode, smallest):
    images = torch.randint(7, 256, (50, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    result = moved(images, kind="crop_flip", mode=mode)
    assert result.min() == smallest
    whole = torch.nn.functional.pad(images.float(), [4] * 4, mode="reflect" if mode == "reflect" else "constant")
    windows = whole.unfold(2, 32, 1).unfold(3, 32, 1).flatten(2, 3).to(torch.uint8)  # (50, 3, 81, 32, 32)
    either = torch.stack([windows, windows.flip(-1)])
    assert (either == result[None, :, :, None]).flatten(4).all(4).all(2).any(2).any(0).all()


def test_alternating_flip_mirrors_each_image_in_every_other_epoch_in_all_processes():
    count = 40
    pixels = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    pixels[..., :16] = 255  # bright on the left
    data = LabelledImages(pixels.contiguous(memory_format=torch.channels_last), torch.arange(count))
    indices, seen = torch.arange(count), []
    for epoch in range(4):
        mirrored = {}
        for rank in range(2):
            sampler = TrainSampler(indices, seed=3, rank=rank, world_size=2)
            sampler.set_epoch(epoch)
            augment = Augment("alternating_flip", padding=2, mode="reflect")
            for images, labels in BatchLoader(data, indices, 7, sampler, augment=augment, seed=3 + rank):
                mirrored |= dict(zip(labels.tolist(), (images[:, 0, 16, 0] < 0).tolist(), strict=True))
        seen.append([mirrored[label] for label in range(count)])
    assert seen[0] == seen[2] != seen[1] == seen[3]
    assert all(a != b for a, b in zip(seen[0], seen[1], strict=True))
    assert 10 < sum(seen[0]) < 30
