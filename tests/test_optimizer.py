"""Which optimizer a training uses, however it is named, and the line that says so."""

import json

import pytest
import torch
import yaml

from lightning_cifar import CIFAR10Classifier
from lightning_cifar.cli import CLI

QUICK = ("--data.val_size", 0, "--data.batch_size", 40, "--trainer.max_epochs", 1, "--trainer.limit_test_batches", 0)


class Settled(Exception):  # noqa: N818  # no error: the test has seen what it wanted
    pass


@pytest.fixture
def settle(monkeypatch, tmp_path, images):
    """Return the settings of a command line of `fit` as they are before anything is built."""

    def stop(cli: CLI) -> None:
        raise Settled(cli.config["fit"])

    monkeypatch.setattr(CLI, "instantiate_classes", stop)
    monkeypatch.chdir(tmp_path)

    def settle(*args: object):
        with pytest.raises(Settled) as settled:
            CLI([*map(str, args), "--data.source", str(images)])
        return settled.value.args[0]

    return settle


@pytest.fixture
def trained_with(main, images):
    """Train, and return the optimizer's state in the last checkpoint; what was printed is in `main.out`."""

    def train(*args: object) -> dict:
        assert main("fit", "--data.source", images, *QUICK, *args) == 0, main.err
        (path,) = main.folder.glob("results/**/last.ckpt")
        return torch.load(path, weights_only=True)

    return train


ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003}}
OWN_DEFAULTS = {"weight_decay": 0.01, "fused": None, "lr": 0.001}


@pytest.mark.parametrize(
    ("content", "args", "expected"),
    [
        ({"optimizer": "AdamW"}, ("fit", "-c", "my.yaml"), OWN_DEFAULTS),
        ({"optimizer": "AdamW"}, ("fit", "-c=my.yaml"), OWN_DEFAULTS),
        ({"optimizer": "AdamW"}, ("fit", "--config", "my.yaml"), OWN_DEFAULTS),
        ({"optimizer": "AdamW"}, ("fit", "--config=my.yaml"), OWN_DEFAULTS),
        ({"optimizer": ADAMW}, ("fit", "-c", "my.yaml"), OWN_DEFAULTS | {"lr": 0.003}),
        ({"fit": {"optimizer": "AdamW"}}, ("-c", "my.yaml", "fit"), OWN_DEFAULTS),
        ({"fit": {"optimizer": ADAMW}}, ("--config=my.yaml", "fit"), OWN_DEFAULTS | {"lr": 0.003}),
        ({"fit": {"data": {"augment": True}}}, ("--config", "my.yaml", "fit", "--optimizer", "AdamW"), OWN_DEFAULTS),
        (None, ("fit", "--optimizer=AdamW"), OWN_DEFAULTS),
        (None, ("fit", "--optimizer", "torch.optim.AdamW", "--optimizer.lr", "0.003"), OWN_DEFAULTS | {"lr": 0.003}),
        (None, ("fit", "--optimizer.class_path", "torch.optim.AdamW"), OWN_DEFAULTS),
        (None, ("fit", "--optimizer", json.dumps(ADAMW)), OWN_DEFAULTS | {"lr": 0.003}),
        (None, ("fit", "--optimizer", "AdamW", "--optimizer.fused", "true"), OWN_DEFAULTS | {"fused": True}),
    ],
)
def test_another_optimizer_has_its_own_defaults_however_it_is_named(settle, tmp_path, content, args, expected):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    optimizer = settle(*args).optimizer
    assert optimizer.class_path == "torch.optim.AdamW"
    assert {name: optimizer.init_args[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), {"lr": 0.001, "momentum": 0.9, "fused": True}),
        (("--optimizer.lr", "0.01"), {"lr": 0.01, "momentum": 0.9, "fused": True}),
        (("--optimizer", "SGD", "--optimizer.momentum", "0"), {"lr": 0.001, "momentum": 0, "fused": True}),
        # there PyTorch's fused kernel begins with memory that nobody has written to, if the first step overflows
        (("--optimizer.fused", "true", "--trainer.precision", "16-mixed"), {"lr": 0.001, "fused": False}),
    ],
)
def test_the_default_optimizer_keeps_what_is_not_changed(settle, args, expected):
    optimizer = settle("fit", *args).optimizer
    assert optimizer.class_path == "torch.optim.SGD"
    assert {name: optimizer.init_args[name] for name in expected} == expected


def test_the_settings_reach_the_training_and_the_saved_configuration(trained_with, main):
    state = trained_with("-c", write(main.folder, {"optimizer": "AdamW"}))
    (group,) = state["optimizer_states"][0]["param_groups"]
    assert "betas" in group and {name: group[name] for name in OWN_DEFAULTS} == OWN_DEFAULTS
    (saved,) = (yaml.safe_load(path.read_text()) for path in main.folder.glob("results/**/config.yaml"))
    assert saved["optimizer"]["init_args"]["weight_decay"] == 0.01


def write(folder, content):
    (folder / "my.yaml").write_text(yaml.safe_dump(content))
    return "my.yaml"


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
