"""Windows of `loss`: their length, their means, and what a checkpoint keeps of them."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cifar.callbacks.loss_window import LossWindow, window_length


@pytest.mark.parametrize(
    ("batch_size", "epoch", "window"),
    [(4, 11250, 2000), (128, 352, 62), (128, 300, 60), (10_000, 5, 1), (4, 3, 1), (4, float("inf"), 2000)],
)
def test_a_window_holds_8000_images_but_at_most_a_fifth_of_an_epoch(batch_size, epoch, window):
    assert window_length(batch_size, epoch) == window


@given(
    length=st.integers(1, 7),
    epochs=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    interrupted_after=st.integers(0, 36),
    seed=st.integers(0, 1000),
)
def test_each_window_is_a_mean_though_a_checkpoint_lies_in_between(length, epochs, interrupted_after, seed):
    trainer = SimpleNamespace(
        world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda state, reduce_op: state),
        state=SimpleNamespace(fn="fit"),
        accumulate_grad_batches=1,
        global_step=0,
        current_epoch=0,
        loggers=[],
        progress_bar_callback=SimpleNamespace(print=lambda line: None),
    )
    losses = torch.rand(sum(epochs), generator=torch.Generator().manual_seed(seed))
    window, expected = LossWindow(length), []
    for batches in epochs:
        begin = trainer.global_step
        for batch in range(batches):
            trainer.is_last_batch = batch == batches - 1
            trainer.global_step += 1
            window.on_train_batch_end(trainer, None, {"loss": losses[begin + batch]}, None, batch)
            if trainer.global_step == interrupted_after:
                saved: dict = {}
                window.on_save_checkpoint(trainer, None, saved)
                window = LossWindow(length)
                window.on_load_checkpoint(trainer, None, saved)
        for first in range(begin, begin + batches, length):
            end = min(first + length, begin + batches)
            expected.append((end - 1, pytest.approx(float(losses[first:end].mean()), rel=1e-5)))
    assert window.loss_history == expected
