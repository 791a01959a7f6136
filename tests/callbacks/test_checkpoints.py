"""Checkpoints: whole or not at all, best and last, and how a resumed run remembers."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from lightning_cifar.callbacks.checkpoints import AtomicCheckpointIO, newest_checkpoint
from lightning_cifar.errors import UserError

CHECKPOINT = {"pytorch-lightning_version": "2.6.0", "state_dict": {"weight": torch.arange(5000.0)}}


def test_bare_weights_are_loaded_too(tmp_path):
    torch.save({"weight": torch.arange(3)}, tmp_path / ".temp.ckpt")  # as Lightning brings them from spawned processes
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / ".temp.ckpt")["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("flags", "step"),
    [
        (("--trainer.check_val_every_n_epoch", 5), 54),
        (("--trainer.val_check_interval", 20, "--trainer.check_val_every_n_epoch", "null"), 54),
        (("--trainer.val_check_interval", 0.25, "--trainer.max_steps", 31, "--trainer.max_epochs", -1), 31),
    ],
)
def test_last_is_where_the_training_ended(main, images, flags, step):
    assert main("fit", "--data.source", images, *FIT, "--trainer.max_epochs", 2, *flags) == 0, main.err
    (path,) = main.folder.glob("results/**/last.ckpt")
    assert torch.load(path, weights_only=True)["global_step"] == step


def test_the_newest_checkpoint_is_the_one_that_was_written_last(tmp_path):
    names = ("a/version_10/last.ckpt", "a/version_9/best.ckpt", "b/version_0/last.ckpt", "b/version_0/.last.ckpt")
    paths = [tmp_path / name for name in names]
    for age, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (age, age))
    assert newest_checkpoint(tmp_path, "last") == paths[2]
    assert newest_checkpoint(tmp_path, "best") == paths[1]
    with pytest.raises(UserError, match=r"no checkpoint last.ckpt in any run below .*/none/; train first"):
        newest_checkpoint(tmp_path / "none", "last")


def remembered(folder: Path) -> dict:
    """The state of the checkpoint callback that watches `val_acc`."""
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = [state for key, state in saved["callbacks"].items() if "RunCheckpoint" in key and "val_acc" in key]
    return state


FIT = (
    *("--data.val_size", 12, "--trainer.enable_progress_bar=false", "--optimizer.lr", 0.01),
    *("--trainer.limit_test_batches", 0),  # spares the drawing of what a test shows
)


@pytest.mark.parametrize("kept", [True, False], ids=["best still there", "best deleted"])
def test_a_resumed_run_in_its_new_folder_remembers_the_old_best(main, images, kept):
    # What was learned is wrong in the second run: there the pictures have changed classes.
    swapped = main.folder / "colours"
    for name, other in (("blue", "green"), ("green", "red"), ("red", "blue")):
        for split in ("train", "test"):
            shutil.copytree(images / split / name, swapped / split / other)
    first, second = (main.folder / "results" / "colours" / f"version_{n}" for n in (0, 1))
    assert main("fit", "--data.source", images, *FIT, "--trainer.max_epochs", 3) == 0
    best = remembered(first)["best_model_score"]
    if not kept:
        (first / "checkpoints" / "best.ckpt").unlink()
    more = ("--trainer.max_epochs", 4, "--trainer.limit_train_batches", 1, "--ckpt_path", "last")
    assert main("fit", "--data.source", swapped, *FIT, *more) == 0, main.err
    state = remembered(second)
    assert Path(state["best_model_path"]).parts[-3] == ("version_0" if kept else "version_1")
    assert state["best_model_score"] == best if kept else state["best_model_score"] < best
    assert (second / "checkpoints" / "best.ckpt").is_file() != kept
    assert (first / "checkpoints" / "best.ckpt").is_file() == kept
    assert (second / "checkpoints" / "last.ckpt").is_file()
    assert state["best_model_path"] in main.out


def test_runs_without_a_logger_keep_folders_of_their_own(main, images):
    for _ in range(2):
        args = ("--trainer.logger", "false", "--trainer.max_epochs", 1)
        assert main("fit", "--data.source", images, *FIT, *args) == 0, main.err
    for version in (0, 1):
        folder = main.folder / "results" / "colours" / f"version_{version}"
        assert {"checkpoints", "config.yaml", "loss_curve.png"} <= {path.name for path in folder.iterdir()}
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert [path.name for path in (main.folder / "results").iterdir()] == ["colours"]
