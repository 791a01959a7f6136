"""Recipes: each trains, and goes on after an interruption as if there had been none."""

import csv
import json
import statistics
import weakref
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cifar import CIFAR10DataModule
from lightning_cifar.recipes import RECIPES

# On small images of three classes: networks of the recipes' kind, made quick.
SMALL = {
    "airbench94": ("--model.net.widths", "[24,24,24]", "--trainer.max_steps", 12),
    "quick": ("--model.net.widths", "[24,24,24]"),
    "resnet18": ("--model.net.width", 4),
    "default": (),
}


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(checkpoint, weights_only=True)
    return saved["state_dict"] | {
        f"current {name}": value for name, value in saved.get("current_model_state", {}).items()
    }


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_resumed_training_ends_with_the_very_weights_of_an_uninterrupted_one(name, main, images):
    flags = ("fit", "--recipe", name, "--data.source", images, *SMALL[name])
    flags += ("--data.batch_size", 20, "--trainer.max_epochs", 3, "--trainer.limit_test_batches", 1)
    often = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=10")
    assert main(*flags, *often, "--trainer.callbacks.filename={step}") == 0, main.err
    (uninterrupted,) = main.folder.glob("results/*/version_0/**/last.ckpt")
    in_mid_epoch = next(main.folder.glob("results/*/version_0/**/step=10.ckpt"))
    assert main(*flags, "--ckpt_path", in_mid_epoch) == 0, main.err
    (resumed,) = main.folder.glob("results/*/version_1/**/last.ckpt")
    expected, got = weights(uninterrupted), weights(resumed)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert any(not torch.equal(value, weights(in_mid_epoch)[name]) for name, value in expected.items())


@pytest.mark.parametrize("callback", ["EMAWeightAveraging", "lightning_cifar.callbacks.lookahead.Lookahead"])
def test_the_best_checkpoint_is_tested_with_its_averaged_weights(callback, main, images):
    flags = ("--data.source", images, "--data.batch_size", 20, f"--trainer.callbacks+={callback}")
    assert main("fit", *flags, "--data.val_size", 20, "--trainer.max_epochs", 2) == 0, main.err
    assert main("test", *flags, "--ckpt_path", "best") == 0, main.err
    runs = [
        EventAccumulator(str(main.folder / "results/colours" / name)).Reload() for name in ("version_0", "version_1")
    ]
    (after_fit,), (alone,) = (run.Scalars("test_loss") for run in runs)
    assert after_fit.value == pytest.approx(alone.value)


def test_debug_learns_its_one_batch_by_heart(main, images, caplog):
    assert main("fit", "--recipe", "debug", "--data.source", images) == 0, main.err
    losses = [float(line.split()[-1]) for line in main.out.splitlines() if line.startswith("epoch=")]
    assert len(losses) == 20 and losses[-1] < 0.1 < losses[0]
    assert "run_training_batch" in caplog.text, "the profiler's table"


def test_an_unknown_recipe_is_answered_with_the_names_the_nearest_first(main):
    assert main("fit", "--recipe", "resnet") == 1
    assert "no recipe 'resnet': there is resnet18, " in main.err
    assert all(name in main.err for name in RECIPES)


def test_what_the_user_says_beside_a_recipe_wins(main, images):
    with pytest.raises(SystemExit):
        main("fit", "--recipe=resnet18", "--model.tta", "none", "--print_config")
    config = yaml.safe_load(main.out)
    assert config["model"]["tta"] == "none" and config["model"]["net"]["class_path"].endswith("ResNet18")


def test_flags_win_over_a_config_of_every_setting_wherever_they_stand(main, images):
    job = ("fit", "--trainer.default_root_dir", "outputs", "--data.source", images)
    with pytest.raises(SystemExit):
        main(*job, "--config", RECIPES["default"], "--recipe=debug", "--print_config")
    config = yaml.safe_load(main.out)
    assert (config["trainer"]["default_root_dir"], config["data"]["source"]) == ("outputs", str(images))
    assert config["trainer"]["max_epochs"] == 20, "the recipe, which comes later"


def test_seeds_train_one_after_another_and_end_with_a_table(main, images):
    flags = ("--data.source", images, "--trainer.max_epochs", 1, "--data.batch_size", 20)
    assert main("fit", "--seeds", "3,5", *flags) == 0, main.err
    folders = [main.folder / "results" / "colours" / f"version_{number}" for number in (0, 1)]
    runs = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert [run["seed"] for run in runs] == [3, 5] and runs[0]["test_loss"] != runs[1]["test_loss"]
    mean, spread = (compute([run["test_acc"] for run in runs]) for compute in (statistics.fmean, statistics.stdev))
    assert f"{mean:.2%} ± {spread:.2%}" in main.out
    with Image.open(main.folder / "results" / "colours" / "seeds_3_5.png") as picture:
        assert min(picture.size) > 200


def test_trainings_of_several_seeds_do_not_pile_up_their_images(main, images, monkeypatch):
    alive: weakref.WeakSet[CIFAR10DataModule] = weakref.WeakSet()
    counts = []

    def setup(self, stage, setup=CIFAR10DataModule.setup):
        alive.add(self)
        counts.append(len(alive))
        setup(self, stage)

    monkeypatch.setattr(CIFAR10DataModule, "setup", setup)
    flags = ("--data.source", images, "--trainer.max_epochs", 1, "--data.batch_size", 60)
    assert main("fit", "--seeds", "0,1,2", *flags) == 0, main.err
    assert max(counts) == 2, "the parser of the one before is still known to jsonargparse"


@pytest.mark.parametrize("seeds", ["a", "1", "1,1", "1,-2", ""])
def test_seeds_are_two_or_more_different_whole_numbers(main, seeds):
    assert main("fit", f"--seeds={seeds}") == 1
    assert f"--seeds is {seeds!r}: give two or more different whole numbers" in main.err


def test_a_run_leaves_its_results_for_programs(main, images):
    flags = ("--data.source", images, "--trainer.max_epochs", 2, "--data.batch_size", 20, "--data.val_size", 20)
    assert main("fit", "--recipe", "resnet18", "--model.net.width", 4, *flags, "--seed_everything", 7) == 0, main.err
    (folder,) = main.folder.glob("results/colours/version_*")
    summary = json.loads((folder / "summary.json").read_text())
    expected = {"recipe": "resnet18", "network": "ResNet18", "data": "colours", "seed": 7, "epochs": 2, "steps": 10}
    assert {name: summary[name] for name in expected} == expected
    assert f"test accuracy  {summary['test_acc']:.1%}" in main.out
    assert summary["seconds"] > 0 and summary["peak_memory_mb"] > 50 and summary["device"] == "cpu"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [4, 9]
    assert all(float(row["loss"]) > 0 for row in rows if row["loss"])
