"""Windows of `loss`: their length, their means over any number of processes, and what a checkpoint keeps of them."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cifar.callbacks.loss_window import LossWindow, window_length

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("batch_size", "epoch", "window"),
    [
        (4, 11250, 2000),
        (4, 12500, 2000),
        (128, 352, 62),
        (128, 300, 60),
        (512, 88, 16),
        (10_000, 5, 1),
        (4, 3, 1),
        (4, float("inf"), 2000),
    ],
)
def test_a_window_holds_8000_images_but_at_most_a_fifth_of_an_epoch(batch_size, epoch, window):
    assert window_length(batch_size, epoch) == window


@pytest.mark.parametrize(
    ("wanted", "log_every_n_steps", "length"),
    [(10, 100, 10), (10, 50, 10), (None, 100, 100), (None, 50, 16), (None, 0, 16)],
    ids=["an explicit length wins", "over the default, too", "else that of the Trainer", "default", "never"],
)
def test_the_length_is_what_was_asked_for(wanted, log_every_n_steps, length):
    trainer = SimpleNamespace(
        log_every_n_steps=log_every_n_steps,
        train_dataloader=SimpleNamespace(batch_size=256),
        num_training_batches=88,
        world_size=2,
    )
    window = LossWindow(wanted)
    window.on_train_start(trainer, None)
    assert window._length == length


class Processes:
    """As many windows as processes, fed in lockstep; process 0 sees what all have summed."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.step = count, 0
        self.windows = [LossWindow(length) for _ in range(count)]
        self.others: list[torch.Tensor] = []

    def trainer(self, rank: int, last: bool = False) -> SimpleNamespace:
        def reduce(state: torch.Tensor, reduce_op: str) -> torch.Tensor:
            if rank:
                self.others.append(state.clone())
                return state
            total, self.others = state + sum(self.others), []
            return total

        return SimpleNamespace(
            log_every_n_steps=50,
            world_size=self.count,
            strategy=SimpleNamespace(root_device=CPU, reduce=reduce),
            state=SimpleNamespace(fn="fit"),
            accumulate_grad_batches=1,
            is_last_batch=last,
            global_step=self.step,
            current_epoch=0,
            loggers=[],
            progress_bar_callback=SimpleNamespace(print=lambda line: None),
        )

    def batch(self, losses: list[float], last: bool) -> None:
        self.step += 1
        for rank in reversed(range(self.count)):
            outputs = {"loss": torch.tensor(losses[rank])}
            self.windows[rank].on_train_batch_end(self.trainer(rank, last), None, outputs, None, 0)

    def checkpoint(self) -> dict:
        saved: dict = {}
        for rank in reversed(range(self.count)):
            saved = {}
            self.windows[rank].on_save_checkpoint(self.trainer(rank), None, saved)
        return saved

    def resume(self, saved: dict) -> None:
        for rank, window in enumerate(self.windows):
            window.on_load_checkpoint(self.trainer(rank), None, saved)


@given(
    processes=st.integers(1, 4),
    length=st.integers(1, 7),
    epochs=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    interrupted_after=st.integers(0, 36),
    seed=st.integers(0, 1000),
)
def test_each_window_is_the_mean_over_all_processes_though_a_checkpoint_lies_in_between(
    processes, length, epochs, interrupted_after, seed
):
    losses = torch.rand(sum(epochs), processes, generator=torch.Generator().manual_seed(seed))
    expected, begin = [], 0
    for batches in epochs:
        for first in range(begin, begin + batches, length):
            end = min(first + length, begin + batches)
            expected.append((end - 1, pytest.approx(float(losses[first:end].mean()), rel=1e-5)))
        begin += batches

    run, step = Processes(processes, length), 0
    for batches in epochs:
        for batch in range(batches):
            run.batch(losses[step].tolist(), last=batch == batches - 1)
            step += 1
            if step == interrupted_after:
                saved, run = run.checkpoint(), Processes(processes, length)
                run.step = step
                for window in run.windows:
                    window._length = length
                run.resume(saved)
    assert run.windows[0].loss_history == expected
