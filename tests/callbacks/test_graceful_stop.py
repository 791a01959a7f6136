"""Ctrl-C and SIGTERM, and going on afterwards."""

import os
import signal
from pathlib import Path

import pytest
import torch

from lightning_cifar import CIFAR10Classifier
from lightning_cifar.callbacks.checkpoints import RunCheckpoint, newest_checkpoint
from lightning_cifar.callbacks.graceful_stop import GracefulStop, Interrupted
from tests.conftest import run
from tests.deadline import deadline, wait_until

# 90 training images in 23 batches an epoch (the last one smaller), in windows of 7; 30 validation images in 4 batches.
FIT = (
    *("fit", "--data.val_size", 30, "--data.eval_batch_size", 8, "--data.augment", "true"),
    *("--trainer.max_epochs", 3, "--trainer.log_every_n_steps", 7, "--trainer.enable_progress_bar", "false"),
    *("--lr_scheduler", "CosineAnnealingLR", "--lr_scheduler.T_max", 3),
    *("--trainer.limit_test_batches", 0),  # spares the drawing of what a test shows
)


def last(folder: Path) -> dict:
    return torch.load(newest_checkpoint(folder, "last"), weights_only=True)


def signal_at(monkeypatch: pytest.MonkeyPatch, hook: str, call: int, signum: int) -> None:
    """Send this process a signal in the middle of the `call`-th batch."""
    original, calls = getattr(GracefulStop, hook), iter(range(1, 1_000_000))

    def wrapped(self, *args, **kwargs):
        if next(calls) == call:
            signal.raise_signal(signum)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(GracefulStop, hook, wrapped)


@pytest.fixture(scope="module")
def uninterrupted(images, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, *FIT, "--data.source", images) == 0
    return last(folder / "results")


@pytest.mark.parametrize(
    ("hook", "call", "signum"),
    [
        pytest.param("on_train_batch_end", 1, signal.SIGINT, id="first batch"),
        pytest.param("on_train_batch_end", 5, signal.SIGTERM, id="mid-window"),
        pytest.param("on_train_batch_end", 30, signal.SIGINT, id="end of a window of the second epoch"),
        pytest.param("on_train_batch_end", 23, signal.SIGINT, id="last batch of an epoch"),
        pytest.param("on_train_batch_end", 69, signal.SIGINT, id="very last batch"),
        pytest.param("on_validation_batch_end", 3, signal.SIGTERM, id="mid-validation"),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    uninterrupted, images, main, monkeypatch, hook, call, signum
):
    signal_at(monkeypatch, hook, call, signum)
    assert main(*FIT, "--data.source", images) == 128 + signum
    monkeypatch.undo()
    assert main(*FIT, "--data.source", images, "--ckpt_path", "last") == 0
    resumed = last(main.folder / "results")
    for name, weights in uninterrupted["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weights), name
    for curve in ("loss_history", "val_history", "global_step", "epoch"):
        assert resumed[curve] == uninterrupted[curve], curve


DROPPING = """
from torch import nn

class Dropping(nn.Sequential):
    def __init__(self, num_classes: int = 10):
        super().__init__(nn.Flatten(), nn.Dropout(), nn.Linear(3072, num_classes))
"""
VARIANTS = {  # flags, and the batch that is interrupted
    "accumulates gradients": (("--trainer.accumulate_grad_batches", 3), 2),
    "drops out": (("--model.net", "dropping.Dropping"), 30),
    "validates between epochs": (
        ("--trainer.val_check_interval", 10, "--trainer.check_val_every_n_epoch", "null"),
        30,
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_so_does_a_run_that(variant, images, main, monkeypatch, tmp_path):
    (tmp_path / "dropping.py").write_text(DROPPING)
    monkeypatch.syspath_prepend(tmp_path)
    flags, call = VARIANTS[variant]
    fit = (*FIT, "--data.source", images, *flags)
    assert main(*fit) == 0, main.err
    whole = last(main.folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, "on_train_batch_end", call, signal.SIGINT)
        assert main(*fit) == 130
    assert main(*fit, "--ckpt_path", "last") == 0, main.err
    resumed = last(main.folder / "results")
    for name, weights in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weights), name
    for curve in ("loss_history", "val_history", "global_step"):
        assert resumed[curve] == whole[curve], curve


def test_a_signal_that_comes_too_late_to_stop_the_training_stops_the_test(main, images, monkeypatch):
    monkeypatch.setattr(RunCheckpoint, "on_train_end", lambda *_: signal.raise_signal(signal.SIGTERM), raising=False)
    assert main("fit", "--data.source", images, "--trainer.max_epochs", 1) == 143
    assert "the training had ended; next: test --ckpt_path last" in main.err and "Finished Training" not in main.out


def test_a_signal_from_outside_saves_last_and_ends_without_a_test(cli, images):
    process = cli.start("fit", "--data.source", images, "--data.val_size", 30, "--trainer.max_epochs", 10_000)
    wait_until(lambda: list(cli.folder.glob("results/**/best*.ckpt")), 30)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=deadline(10))
    assert process.returncode == 143
    assert "Finished Training" not in out and "Traceback" not in err
    assert err.splitlines()[-1].startswith("interrupted by SIGTERM; saved results/colours/version_0/")
    assert not list(cli.folder.glob("**/.*.ckpt*"))


def test_ctrl_c_in_the_final_test_says_where_the_training_lies(main, images, monkeypatch):
    monkeypatch.setattr(CIFAR10Classifier, "on_test_start", lambda self: signal.raise_signal(signal.SIGINT), False)
    assert main("fit", "--data.source", images, "--trainer.max_epochs", 1) == 130
    says = "interrupted by SIGINT; the training had ended and lies in results/colours/version_0; next: test --ckpt_path"
    assert main.err.splitlines()[-1].startswith(says)
    assert (main.folder / "results/colours/version_0/checkpoints/best.ckpt").exists()


def test_a_second_ctrl_c_on_the_way_out_does_not_hide_what_was_saved(main, monkeypatch):
    def stopped(_):
        try:
            raise Interrupted(signal.SIGINT, "saved last.ckpt")
        finally:
            try:
                raise KeyError  # of something else that is being cleaned up
            except KeyError:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lightning_cifar.cli.CLI", stopped)
    assert main("fit") == 130
    assert main.err.splitlines() == ["interrupted by SIGINT; saved last.ckpt"]


class Ended(BaseException):
    """Raised instead of ending the process."""


def test_a_second_ctrl_c_ends_at_once(images, tmp_path, monkeypatch, capfd):
    def end(code: int) -> None:
        raise Ended(code)

    step, calls = CIFAR10Classifier.training_step, []

    def interrupted_twice(self, batch, batch_idx):
        calls.append(batch_idx)
        signal.raise_signal(signal.SIGINT)
        calls.append("the first waits for the end of the batch")
        signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(CIFAR10Classifier, "training_step", interrupted_twice)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended) as ended:
        run(tmp_path, "fit", "--data.source", images, "--data.val_size", 30)
    assert ended.value.args == (130,)
    assert calls == [0, "the first waits for the end of the batch"]
    assert "interrupted again: ended at once, without saving" in capfd.readouterr().err
    assert not list(tmp_path.glob("**/*.ckpt"))
