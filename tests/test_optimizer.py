"""Which optimizer a training uses, and the line that says so."""

import pytest
import torch

from lightning_cifar import CIFAR10Classifier

QUICK = ("--data.val_size", 0, "--data.batch_size", 40, "--trainer.max_epochs", 1, "--trainer.limit_test_batches", 0)


@pytest.fixture
def trained_with(main, images):
    """Train, and return the optimizer's state in the last checkpoint; what was printed is in `main.out`."""

    def train(*args: object) -> dict:
        assert main("fit", "--data.source", images, *QUICK, *args) == 0, main.err
        path = max(main.folder.glob("results/**/last.ckpt"))
        return torch.load(path, weights_only=True)

    return train


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), "SGD with lr 0.001, from recipes/default.yaml, in place of CIFAR10Classifier.configure_optimizers ("),
        (("--optimizer.lr", 0.01), "SGD with lr 0.01, from --optimizer, in place of CIFAR10Classifier.configure_opt"),
        (("--optimizer", "AdamW"), "AdamW with lr 0.001, from --optimizer, in place of CIFAR10Classifier.configure_"),
        (("--optimizer", "null"), "Adagrad with lr 0.5, from CIFAR10Classifier.configure_optimizers\n"),
    ],
)
def test_the_log_says_once_which_optimizer_is_used_and_where_it_comes_from(trained_with, main, monkeypatch, args, line):
    own = lambda self: torch.optim.Adagrad(self.parameters(), lr=0.5)  # noqa: E731
    monkeypatch.setattr(CIFAR10Classifier, "configure_optimizers", own)
    state = trained_with(*args, "--trainer.enable_progress_bar=false")
    assert main.out.count("with lr") == main.out.count(line) == 1, main.out
    assert ("sum" in state["optimizer_states"][0]["state"][0]) == (args == ("--optimizer", "null"))


def test_a_scheduler_alone_takes_effect(trained_with):
    saved = trained_with("--lr_scheduler", "CosineAnnealingLR", "--lr_scheduler.T_max", 10, "--trainer.max_epochs", 5)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.0005)
    assert saved["lr_schedulers"][0]["T_max"] == 10


def test_a_schedule_by_steps_spans_the_training(trained_with):
    flags = ("--optimizer.lr", 0.5, "--trainer.max_epochs", 2, "--trainer.accumulate_grad_batches", 2)
    saved = trained_with("--lr_scheduler", "OneCycleLR", "--lr_scheduler.max_lr", 0.5, *flags)
    (schedule,) = saved["lr_schedulers"]
    assert schedule["total_steps"] == schedule["last_epoch"] == saved["global_step"] == 4, "two of 3 batches make one"
    saved = trained_with("--lr_scheduler", "lightning_cifar.optimizers.WarmupToLinear", *flags)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.5 * 0.07)


def test_a_schedule_without_an_end_is_told_so(main, images):
    endless = ("--trainer.max_epochs=-1", "--lr_scheduler", "lightning_cifar.optimizers.WarmupToLinear")
    assert main("fit", "--data.source", images, *endless) == 1
    assert "WarmupToLinear leads to the training's end: give --trainer.max_epochs or max_steps" in main.err


def test_groups_of_parameters_have_settings_of_their_own(trained_with):
    settings = ("--norms.lr_factor", 64, "--norms.weight_decay", 0.25, "--biases.weight_decay", 0)
    net = ("--model.net", "lightning_cifar.nets.AirbenchNet", "--model.net.widths", "[24,24,24]")
    saved = trained_with(*net, "--optimizer.lr", 0.01, "--optimizer.weight_decay", 0.5, *settings)
    groups = [
        (len(each["params"]), each["lr"], each["weight_decay"]) for each in saved["optimizer_states"][0]["param_groups"]
    ]
    weights, norms, biases = (7, 0.01, 0.5), (6, 0.64, 0.25), (1, 0.01, 0.0)
    assert groups == [weights, norms, biases], "frozen parameters are in none"


def test_a_training_goes_on_with_the_optimizer_of_its_checkpoint(trained_with, main, images):
    trained_with("--optimizer", "AdamW", "--optimizer.lr", 0.02, "--data.batch_size", 12)
    goes_on = ("fit", "--data.source", images, *QUICK, "--trainer.max_epochs", 2, "--ckpt_path", "last")
    assert main(*goes_on) == 1
    assert "by a training with AdamW, and its state is of no use to SGD; add --optimizer AdamW" in main.err
    assert main(*goes_on, "--optimizer", "AdamW") == 0
    assert "AdamW with lr 0.02, from --optimizer" in main.out
