"""Ctrl-C and SIGTERM stop a training; the resumed one ends with the weights of an uninterrupted one."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import nn

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule, Net
from lightning_cifar.callbacks.checkpoints import AtomicCheckpointIO, RunCheckpoint
from lightning_cifar.callbacks.graceful_stop import DUE, SIGNALS, GracefulStop, Interrupted
from tests.conftest import run


class Dropping(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(), nn.Linear(3072, num_classes))


class Scheduled(CIFAR10Classifier):
    """With a learning rate that changes with the epochs, so that its state matters too."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)]


class SignalAt(Callback):
    """Raises a signal in the middle of the `call`-th training or validation batch."""

    def __init__(self, hook: str, call: int, signum: int) -> None:
        self.calls = 0

        def on_batch_end(*_: object) -> None:
            self.calls += 1
            if self.calls == call:
                signal.raise_signal(signum)

        setattr(self, hook, on_batch_end)


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="module")
def data(images) -> CIFAR10DataModule:
    """90 training images, 23 batches an epoch (the last one smaller); 30 validation images in 4 batches."""
    return CIFAR10DataModule(str(images), val_size=30, eval_batch_size=8, augment="crop_flip")


def fit(
    folder: Path, data: CIFAR10DataModule, *callbacks: Callback, net=Net, seed=0, ckpt_path=None, every=None, **options
) -> dict:
    """Train for three epochs in windows of 7 batches; return the last checkpoint."""
    torch.manual_seed(0)
    model = Scheduled(net(3), ["blue", "green", "red"], loss_window=7)
    torch.manual_seed(seed)
    last = RunCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=3,
        num_sanity_val_steps=0,
        callbacks=[last, GracefulStop(every), *callbacks],
        plugins=[AtomicCheckpointIO()],
        **quiet,
        **options,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path)
    return torch.load(folder / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory) -> Callable[[str], dict]:
    """Return the last checkpoint of a run that nobody stopped."""
    return cache(lambda variant: fit(tmp_path_factory.mktemp("whole"), data, **VARIANTS[variant]))


def check_same(resumed: dict, whole: dict) -> None:
    for name, weights in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weights), name
    for part in ("loss_history", "val_history", "global_step", "epoch", "lr_schedulers"):
        assert resumed[part] == whole[part], part


VARIANTS: dict[str, dict] = {
    "": {},
    "accumulates gradients": {"accumulate_grad_batches": 3},
    "drops out": {"net": Dropping},
    "validates within epochs": {"val_check_interval": 10, "check_val_every_n_epoch": None},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("variant", "hook", "call", "signum"),
    [
        pytest.param("", "on_train_batch_end", 5, signal.SIGTERM, id="mid-window"),
        pytest.param("", "on_train_batch_end", 23, signal.SIGINT, id="last batch of an epoch"),
        pytest.param("", "on_validation_batch_end", 3, signal.SIGTERM, id="mid-validation"),
        pytest.param("accumulates gradients", "on_train_batch_end", 2, signal.SIGINT, id="between steps"),
        pytest.param("drops out", "on_train_batch_end", 30, signal.SIGINT, id="of a net with dropout"),
        pytest.param("validates within epochs", "on_validation_batch_end", 6, signal.SIGINT, id="in such a validation"),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    uninterrupted, data, tmp_path, variant, hook, call, signum
):
    options, whole = VARIANTS[variant], uninterrupted(variant)
    with pytest.raises(Interrupted) as stopped:
        fit(tmp_path / "stopped", data, SignalAt(hook, call, signum), **options)
    last = tmp_path / "stopped" / "last.ckpt"
    assert stopped.value.exit_code == 128 + signum
    assert stopped.value.remedy == f"saved {last}; go on with --ckpt_path {last}"
    resumed = fit(tmp_path / "resumed", data, ckpt_path=last, seed=1, **options)
    check_same(resumed, whole)
    assert whole["global_step"] == (24 if variant == "accumulates gradients" else 69)


class Killed(BaseException):
    """Raised where the process is lost: nothing is saved any more."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("variant", "hook", "call", "saved_at"),
    [
        pytest.param("", "on_train_batch_end", 6, 5, id="mid-window"),
        pytest.param("", "on_validation_batch_end", 3, 22, id="not in the last batch of an epoch"),
        pytest.param("accumulates gradients", "on_train_batch_end", 9, 2, id="not between steps"),
        pytest.param("drops out", "on_train_batch_end", 31, 30, id="of a net with dropout"),
        pytest.param("validates within epochs", "on_validation_batch_end", 1, 9, id="not where a validation is due"),
    ],
)
def test_a_run_that_is_killed_goes_on_from_the_last_checkpoint_by_the_clock(
    uninterrupted, data, tmp_path, monkeypatch, variant, hook, call, saved_at
):
    def kill(signum: int) -> None:
        raise Killed

    monkeypatch.setattr(signal, "raise_signal", kill)
    options, whole, always = VARIANTS[variant], uninterrupted(variant), 1e-9
    with pytest.raises(Killed):
        fit(tmp_path / "killed", data, SignalAt(hook, call, signal.SIGKILL), every=always, **options)
    last = tmp_path / "killed" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == saved_at
    resumed = fit(tmp_path / "resumed", data, ckpt_path=last, seed=1, every=always, **options)
    check_same(resumed, whole)


def test_a_signal_that_comes_too_late_to_stop_the_training_stops_the_test(main, images, monkeypatch):
    monkeypatch.setattr(RunCheckpoint, "on_train_end", lambda *_: signal.raise_signal(signal.SIGTERM), raising=False)
    assert main("fit", "--data.source", images, "--trainer.max_epochs", 1) == 143
    assert "the training had ended; next: test --ckpt_path last" in main.err and "Finished Training" not in main.out


def test_ctrl_c_in_the_final_test_says_where_the_training_lies(main, images, monkeypatch):
    monkeypatch.setattr(CIFAR10Classifier, "on_test_start", lambda self: signal.raise_signal(signal.SIGINT))
    assert main("fit", "--data.source", images, "--trainer.max_epochs", 1) == 130
    says = "interrupted by SIGINT; the training had ended and lies in results/colours/version_0; next: test --ckpt_path"
    assert main.err.splitlines()[-1].startswith(says)
    assert (main.folder / "results/colours/version_0/checkpoints/best.ckpt").exists()


def test_a_second_ctrl_c_on_the_way_out_does_not_hide_what_was_saved(main, monkeypatch):
    def stopped(_):
        try:
            raise Interrupted(signal.SIGINT, "saved last.ckpt")
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lightning_cifar.cli.CLI", stopped)
    assert main("fit") == 130
    assert main.err.splitlines() == ["interrupted by SIGINT; saved last.ckpt"]


class Ended(BaseException):
    """Raised instead of ending the process."""


def test_a_second_ctrl_c_ends_at_once(images, tmp_path, monkeypatch, capfd):
    def end(code: int) -> None:
        raise Ended(code)

    calls = []

    def interrupted_twice(self, batch, batch_idx):
        calls.append(batch_idx)
        signal.raise_signal(signal.SIGINT)
        calls.append("the first waits for the end of the batch")
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(CIFAR10Classifier, "training_step", interrupted_twice)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended) as ended:
        run(tmp_path, "fit", "--data.source", images, "--data.val_size", 30)
    assert ended.value.args == (130,)
    assert calls == [0, "the first waits for the end of the batch"]
    assert "interrupted again: ended at once, without saving" in capfd.readouterr().err
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_the_clock_is_set_on_the_command_line_and_off_by_default(main, images, monkeypatch):
    seen = []
    monkeypatch.setattr(GracefulStop, "on_train_start", lambda self, *_: seen.append(self._every))
    for flags in ((), ("--checkpoint_every", "10m"), ("--checkpoint_every", "10m", "--checkpoint_every", "null")):
        assert main("fit", "--data.source", images, "--trainer.fast_dev_run", 1, *flags) == 0, main.err
    assert seen == [math.inf, 600, math.inf]


@pytest.mark.parametrize(
    ("signalled_at", "accumulates", "stops_at"), [(1, 1, 10), (10, 1, 10), (11, 1, 20), (3, 4, 12)]
)
def test_several_processes_agree_after_every_tenth_batch_and_stop_where_they_may(
    monkeypatch, signalled_at, accumulates, stops_at
):
    trainer = SimpleNamespace(world_size=2, is_last_batch=False, global_step=1, max_steps=-1, checkpoint_callback=None)
    trainer.accumulate_grad_batches = accumulates
    groups: list[str] = []

    def vote_with_another_process(vote: torch.Tensor, op: object, group: str) -> None:
        assert op == torch.distributed.ReduceOp.MAX
        assert group == "gloo" and vote.device.type == "cpu", "no GPU is waited for"
        vote.fill_(signal.SIGTERM if batch >= signalled_at else 0)

    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "nccl")
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend: groups.append(backend) or backend)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", groups.remove)
    monkeypatch.setattr(torch.distributed, "all_reduce", vote_with_another_process)
    stop = GracefulStop()
    stop.on_train_start(trainer, None)
    with pytest.raises(Interrupted, match="SIGTERM"):
        for batch in range(1, 100):
            stop.on_train_batch_end(trainer, None, None, None, batch - 1)
    assert batch == stops_at
    assert not groups, "a process that ends with a group's threads running is aborted"


def test_several_processes_save_at_the_same_step_when_the_clock_of_one_says_so(monkeypatch, tmp_path):
    saved: list[int] = []
    trainer = SimpleNamespace(world_size=2, is_last_batch=False, global_step=1, max_steps=-1, accumulate_grad_batches=1)
    trainer.checkpoint_callback = SimpleNamespace(dirpath=tmp_path)
    trainer.save_checkpoint = lambda path, weights_only: saved.append(batch)
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=0))
    trainer.check_val_every_n_epoch, trainer.val_check_batch = 1, math.inf
    due_elsewhere = {11: DUE, 31: DUE}

    def vote(mine: torch.Tensor, op: object, group: object) -> None:
        assert mine == 0, "the clock of this process says nothing"
        mine.fill_(next((due_elsewhere.pop(at) for at in list(due_elsewhere) if batch >= at), 0))

    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    monkeypatch.setattr(torch.distributed, "all_reduce", vote)
    stop = GracefulStop(checkpoint_every=3600)
    stop.on_train_start(trainer, None)
    for batch in range(1, 60):
        stop.on_train_batch_end(trainer, None, None, None, batch - 1)
    assert saved == [20, 40]
