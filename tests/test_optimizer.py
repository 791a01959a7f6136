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
        (path,) = main.folder.glob("results/**/last.ckpt")
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


def test_a_training_goes_on_with_the_optimizer_of_its_checkpoint(trained_with, main, images):
    trained_with("--optimizer", "AdamW", "--optimizer.lr", 0.02, "--data.batch_size", 12)
    goes_on = ("fit", "--data.source", images, *QUICK, "--trainer.max_epochs", 2, "--ckpt_path", "last")
    assert main(*goes_on) == 1
    assert "by a training with AdamW, and its state is of no use to SGD; add --optimizer AdamW" in main.err
    assert main(*goes_on, "--optimizer", "AdamW") == 0
    assert "AdamW with lr 0.02, from --optimizer" in main.out
