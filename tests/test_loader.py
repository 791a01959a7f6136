"""Whole batches from uint8 images in memory."""

from collections import Counter

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision.transforms import v2

from lightning_cifar.augment import Augment
from lightning_cifar.data import LabelledImages
from lightning_cifar.data.cifar10 import CHANNEL_MEANS, CHANNEL_STDS
from lightning_cifar.errors import UserError
from lightning_cifar.loader import BatchLoader, EvalSampler, TrainSampler, normalized, to_float

COUNT = 23


def some(count: int) -> LabelledImages:
    """Images that can be told apart by their label."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return LabelledImages(pixels.permute(0, 3, 1, 2), torch.arange(count))


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    return some(COUNT)


def loader(data, batch_size=4, rank=0, world_size=1, seed=0, **options) -> BatchLoader:
    indices = torch.arange(len(data.labels))
    return BatchLoader(data, indices, batch_size, TrainSampler(indices, seed, rank, world_size), seed=seed, **options)


def epoch(loader: BatchLoader, number: int = 0) -> list[int]:
    loader.sampler.set_epoch(number)
    return [int(label) for _, labels in loader for label in labels]


def test_scales_every_value_as_torchvision_does():
    images = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    theirs = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
    assert torch.equal(to_float(images), theirs(images))
    theirs = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(CHANNEL_MEANS, CHANNEL_STDS)])
    torch.testing.assert_close(normalized(images), theirs(images))


def test_hands_out_float_batches_in_channels_last(data):
    images, labels = next(iter(loader(data)))
    assert images.dtype == torch.float32 and images.shape == (4, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, to_float(data.images[labels]))
    assert images.min() >= -1 and images.max() <= 1


def test_the_order_is_that_of_the_seed_and_new_in_each_epoch(data):
    assert epoch(loader(data, seed=1)) == epoch(loader(data, seed=1)) != epoch(loader(data, seed=2))
    assert epoch(loader(data, seed=1)) != epoch(loader(data, seed=1), 1)
    assert epoch(loader(data, seed=1), 1) != epoch(loader(data, seed=2), 0), "neighbouring seeds share their orders"


@given(images=st.integers(1, 60), processes=st.integers(1, 6), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_no_image_is_trained_on_twice_and_fewer_are_left_out_than_there_are_processes(
    images, processes, batch_size, seed
):
    assume(images >= processes)
    shares = [epoch(loader(some(images), batch_size, rank, processes, seed), 3) for rank in range(processes)]
    seen = [label for share in shares for label in share]
    assert len({len(share) for share in shares}) == 1
    assert len(seen) == len(set(seen)) == images - images % processes


def test_other_images_are_left_out_in_each_epoch(data):
    dropped = set()
    for number in range(20):
        seen = {label for rank in range(4) for label in epoch(loader(data, rank=rank, world_size=4), number)}
        dropped |= set(range(COUNT)) - seen
    assert len(dropped) > COUNT // 2


@given(images=st.integers(1, 60), processes=st.integers(1, 6), batch_size=st.integers(1, 9))
def test_each_image_is_evaluated_exactly_once_in_equally_many_batches(images, processes, batch_size):
    assume(images >= processes)
    indices = torch.arange(images)
    orders = [EvalSampler(indices, rank, processes) for rank in range(processes)]
    loaders = [BatchLoader(some(images), indices, batch_size, order) for order in orders]
    shares = [[labels.tolist() for _, labels in one] for one in loaders]
    assert len({len(share) for share in shares}) == 1
    largest = max(batch_size, 2)  # where one share has an image more, it cannot be cut into as many batches of one
    assert all(0 < len(batch) <= largest for share in shares for batch in share)
    assert Counter(x for share in shares for batch in share for x in batch) == Counter(range(images))


@pytest.mark.parametrize("kind", ["crop_flip", "alternating_flip"])
@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_goes_on_with_the_very_next_batch(data, stop_after, kind):
    whole = loader(data, augment=Augment(kind))
    whole.sampler.set_epoch(2)
    batches = list(whole)
    begun = loader(data, augment=Augment(kind))
    begun.sampler.set_epoch(2)
    iterator = iter(begun)
    for _ in range(stop_after):
        next(iterator)
    resumed = loader(data, augment=Augment(kind))
    resumed.load_state_dict(begun.state_dict())
    resumed.sampler.set_epoch(2)
    rest = list(resumed)
    assert len(rest) == len(batches) - stop_after
    for (images, labels), (expected, expected_labels) in zip(rest, batches[stop_after:], strict=True):
        assert torch.equal(images, expected) and torch.equal(labels, expected_labels)


@pytest.mark.parametrize("batches", [COUNT, 1], ids=["finished", "left early, as a sanity check is"])
def test_each_pass_is_complete_whatever_the_one_before_it_did(data, batches):
    begun, resumed = loader(data, batch_size=1), loader(data, batch_size=1)
    assert len(list(zip(range(batches), begun, strict=False))) == batches
    assert len(epoch(begun, 1)) == COUNT
    resumed.load_state_dict(begun.state_dict())
    assert len(epoch(resumed, 2)) == COUNT


def test_an_epoch_of_another_number_of_batches_does_not_go_on_in_its_middle(data):
    begun = loader(data, batch_size=4)
    next(iter(begun))
    with pytest.raises(UserError, match="in the middle of an epoch of 6 batches, which has 8 now; "):
        loader(data, batch_size=3).load_state_dict(begun.state_dict())
    list(begun)
    resumed = loader(data, batch_size=3)
    resumed.load_state_dict(begun.state_dict())  # at an epoch's end nothing is in the way
    assert len(epoch(resumed, 1)) == COUNT


@pytest.mark.parametrize(("batch_size", "sizes"), [(11, [11, 12]), (22, [23]), (7, [7, 7, 7, 2]), (1, [1] * COUNT)])
def test_no_batch_holds_a_single_image(data, batch_size, sizes):
    batches = loader(data, batch_size)
    assert [len(labels) for _, labels in batches] == sizes and len(batches) == len(sizes)
