"""What the command line builds: callbacks, progress bar, source and optimizer; each settled once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pytorch_lightning.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_lightning.callbacks import ProgressBar as AnyBar

from lightning_cifar.callbacks.checkpoints import RunCheckpoint
from lightning_cifar.callbacks.graceful_stop import GracefulStop
from lightning_cifar.callbacks.progress import ProgressBar
from lightning_cifar.cli import CLI
from lightning_cifar.data.folder import FolderSource

MONITOR = "--trainer.callbacks.monitor=val_loss"
ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003}}
OWN_DEFAULTS = {"weight_decay": 0.01, "fused": None, "lr": 0.001}


class Built(Exception):  # noqa: N818  # no error: the test has seen what it wanted
    pass


@pytest.fixture
def build(monkeypatch, tmp_path, images) -> Callable[..., CLI]:
    """Return what a command line of `fit` builds, before it trains."""

    def stop(cli: CLI) -> None:
        raise Built(cli)

    monkeypatch.setattr(CLI, "after_instantiate_classes", stop)
    monkeypatch.chdir(tmp_path)
    source = ("--data.source", str(images))

    def build(*args: str) -> CLI:
        with pytest.raises(Built) as built:
            CLI([*args, *source] if "fit" in args else ["fit", *source, *args])
        return built.value.args[0]

    return build


@pytest.mark.parametrize(
    ("flags", "bar"),
    [
        ((), ProgressBar),
        (("--trainer.callbacks+=TQDMProgressBar",), TQDMProgressBar),
        (("--trainer.enable_progress_bar", "false"), None),
    ],
)
def test_the_users_progress_bar_replaces_the_default_one(build, flags, bar):
    bars = [callback for callback in build(*flags).trainer.callbacks if isinstance(callback, AnyBar)]
    assert [type(callback) for callback in bars] == [bar] * (bar is not None)


@pytest.mark.parametrize(
    ("flags", "there", "missing"),
    [
        (("--trainer.callbacks+=EarlyStopping", MONITOR), (EarlyStopping, GracefulStop, ProgressBar), ()),
        (("--trainer.callbacks", "null"), (), (RunCheckpoint, GracefulStop)),
        (("--trainer.callbacks=EarlyStopping", MONITOR), (EarlyStopping,), (GracefulStop,)),
        (("--trainer.enable_checkpointing", "false"), (ProgressBar,), (RunCheckpoint, GracefulStop)),
    ],
)
def test_callbacks_are_added_to_the_default_ones_or_replace_them(build, flags, there, missing):
    callbacks = build(*flags).trainer.callbacks
    assert all(any(isinstance(callback, kind) for callback in callbacks) for kind in there)
    assert not [callback for callback in callbacks if isinstance(callback, missing)]


@pytest.mark.parametrize("found", ["synthetic", "cifar10"])
def test_the_source_is_chosen_once_and_the_data_module_is_told_which(build, images, monkeypatch, found):
    asked = []

    def resolve(*args: object) -> FolderSource:
        asked.append(args)
        source = FolderSource(images)
        source.name = found
        return source

    monkeypatch.setattr("lightning_cifar.cli.resolve_source", resolve)
    flags = ("--data.source", "cifar10", "--data.fallback", "synthetic", "--data.mirrors", '["http://a"]')
    data = build(*flags).config["fit"].data
    assert asked == [("cifar10", Path("data"), ["http://a"], "synthetic")]
    assert (data.source, data.fallback) == (found, None)


@pytest.mark.parametrize(
    ("flags", "window"),
    [
        (("--model.loss_window", "10", "--trainer.log_every_n_steps", "100"), 10),
        (("--trainer.log_every_n_steps", "100"), 100),
        (("--trainer.log_every_n_steps", "0"), None),
        ((), None),
    ],
)
def test_an_explicit_loss_window_wins_over_log_every_n_steps(build, flags, window):
    assert build(*flags).config["fit"].model.loss_window == window


@pytest.mark.parametrize(
    ("content", "args", "expected"),
    [
        ({"optimizer": "AdamW"}, ("fit", "-c", "my.yaml"), OWN_DEFAULTS),
        ({"optimizer": ADAMW}, ("fit", "-c", "my.yaml"), OWN_DEFAULTS | {"lr": 0.003}),
        ({"fit": {"optimizer": ADAMW}}, ("--config=my.yaml", "fit"), OWN_DEFAULTS | {"lr": 0.003}),
        (None, ("fit", "--optimizer", "torch.optim.AdamW", "--optimizer.lr", "0.003"), OWN_DEFAULTS | {"lr": 0.003}),
        (None, ("fit", "--optimizer", "AdamW", "--optimizer.fused", "true"), OWN_DEFAULTS | {"fused": True}),
    ],
)
def test_another_optimizer_has_its_own_defaults_however_it_is_named(build, tmp_path, content, args, expected):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    optimizer = build(*args).config["fit"].optimizer
    assert optimizer.class_path == "torch.optim.AdamW"
    assert {name: optimizer.init_args[name] for name in expected} == expected


@pytest.mark.filterwarnings("ignore:You passed .*precision='16-mixed'")  # which a CPU does in bfloat16
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
def test_the_default_optimizer_keeps_what_is_not_changed(build, args, expected):
    optimizer = build(*args).config["fit"].optimizer
    assert optimizer.class_path == "torch.optim.SGD"
    assert {name: optimizer.init_args[name] for name in expected} == expected
