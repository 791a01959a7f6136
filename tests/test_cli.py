"""The command line: what its flags do, and what a run leaves behind."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_cifar import CIFAR10Classifier
from lightning_cifar.cli import check_flags
from lightning_cifar.errors import UserError
from lightning_cifar.run_folder import RunLogger
from tests.conftest import make_folder

QUICK = (
    *("--data.val_size", 12, "--data.batch_size", 12, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar=false"),
    *("--trainer.limit_test_batches", 0),  # spares the drawing of what a test shows
)
SQUEEZE = "torchvision.models.squeezenet1_1"
ONE_BATCH = ("--data.val_size", 0, "--trainer.limit_train_batches", 1)
WITH_TEST = ("--trainer.limit_test_batches", 1.0)


@pytest.fixture
def fit(main, images):
    """`fit` on the three colours; gives its run folder."""

    def run(*args: object, version: int = 0) -> Path:
        assert main("fit", "--data.source", images, *QUICK, *args) == 0, main.err
        return main.folder / "results" / "colours" / f"version_{version}"

    return run


def config(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


def weights(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def test_a_run_leaves_checkpoints_curves_figures_and_its_whole_configuration(fit, main, caplog):
    with caplog.at_level("INFO"):
        folder = fit(*WITH_TEST)
    assert "GPU available" in caplog.text and "Tip" not in caplog.text, "recommends other products"
    left = {path.relative_to(folder).as_posix() for path in folder.glob("**/*") if path.is_file()}
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml"} <= left
    assert {"loss_curve.png", "confusion_matrix.png", "test_images.png"} <= left
    assert any("tfevents" in name for name in left)
    for line in ("Finished Training", "wall time", "images per second", "test accuracy", "version_0", "best.ckpt"):
        assert line in main.out
    assert config(folder)["data"]["batch_size"] == 12 and config(folder)["optimizer"]["init_args"]["lr"] == 0.001
    logged = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert (logged["max_epochs"], logged["data"]["batch_size"], logged["seed_everything"]) == (1, 12, 0)


def test_the_saved_configuration_repeats_the_run_and_leaves_it_as_it_was(fit, main):
    first = fit("--optimizer.lr", 0.01, "--data.augment", "crop_flip")
    before = {path: path.read_bytes() for path in first.glob("**/*") if path.is_file()}
    assert main("fit", "--config", first / "config.yaml") == 0
    second = weights(first.with_name("version_1"))["state_dict"]
    assert all(torch.equal(value, second[name]) for name, value in weights(first)["state_dict"].items())
    assert {path: path.read_bytes() for path in first.glob("**/*") if path.is_file()} == before


def test_a_printed_configuration_holds_every_default_and_trains_a_network_for_the_classes_of_the_data(
    fit, main, images
):
    with pytest.raises(SystemExit) as stop:
        main("fit", "--data.source", images, *QUICK, "--model.net", SQUEEZE, "--print_config")
    assert stop.value.code == 0
    (main.folder / "my.yaml").write_text(main.out)
    shown = yaml.safe_load(main.out)
    assert shown["data"]["split_seed"] == 0 and shown["optimizer"]["init_args"]["momentum"] == 0.9
    assert shown["model"]["net"]["init_args"]["num_classes"] == 1000
    saved = weights(fit("--config", "my.yaml", *ONE_BATCH))
    assert saved["hyper_parameters"]["class_names"] == ["blue", "green", "red"]
    assert saved["hyper_parameters"]["net"]["init_args"]["num_classes"] == 3
    assert saved["state_dict"]["net.classifier.1.weight"].shape[0] == 3
    fit("--config", "my.yaml", "--ckpt_path", "last", *ONE_BATCH, version=1)


def test_the_configuration_of_a_run_serves_for_other_classes(fit, main, tmp_path_factory):
    two = make_folder(tmp_path_factory.mktemp("data") / "two", "ab", 20, 5)
    again = ("--config", fit() / "config.yaml", "--data.source", two, "--data.val_size", 4)
    assert main("fit", *again) == 0, main.err


@pytest.mark.parametrize(
    "args",
    [
        ("--trainer.fast_dev_run", "true"),
        ("--data.val_size", "0"),
        ("--trainer.limit_val_batches", "0"),
        ("--trainer.logger", "false"),
        ("--trainer.enable_checkpointing", "false"),
        ("--trainer.limit_test_batches", "0"),
        ("--trainer.max_epochs", "0"),
        ("--trainer.val_check_interval", "0.5"),
    ],
    ids=lambda args: args[0].rpartition(".")[2],
)
def test_fit_ends_well_whatever_is_left_out(fit, main, args):
    fit(*(() if "limit_test_batches" in args[0] else WITH_TEST), *args)
    if args[0] != "--trainer.fast_dev_run":
        assert "Finished Training" in main.out


def test_the_best_checkpoint_is_tested_and_the_last_one_kept(fit, main):
    # So large a step that the network gets worse after the first epoch.
    folder = fit("--trainer.max_epochs", 4, "--optimizer.lr", 0.05, "--optimizer.momentum", 0, *WITH_TEST)
    best, last = weights(folder, "best"), weights(folder)
    assert last["epoch"] == 3
    scores = [acc for key, state in best["callbacks"].items() if "val_acc" in key for acc in [state["current_score"]]]
    assert scores and scores[0] == max(s["best_model_score"] for k, s in last["callbacks"].items() if "val_acc" in k)
    assert "best.ckpt" in main.out + main.err


def test_test_and_predict_need_only_the_checkpoint(fit, main, images):
    fit("--model.net", SQUEEZE, *ONE_BATCH)
    assert main("test", "--ckpt_path", "last", "--data.source", images) == 0
    assert "--ckpt_path last is results/colours/version_0/checkpoints/last.ckpt" in main.out
    assert "test_acc" in main.out
    picture = images / "test" / "red" / "000.png"
    assert main("predict", "--ckpt_path", "last", "--data.predict_path", picture) == 0, main.err
    assert main.out.count(".png: ") == 1 and "warning" not in main.err


def test_predict_names_each_image_s_most_probable_class(fit, main, images):
    folder = fit("--optimizer.lr", 0.02, "--data.batch_size", 4)
    model = CIFAR10Classifier.load_from_checkpoint(folder / "checkpoints" / "last.ckpt", weights_only=True).eval()
    files = sorted((images / "test").glob("*/*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in files]).permute(0, 3, 1, 2)
    with torch.no_grad():
        best = model(pixels / 127.5 - 1).softmax(1).max(1)
    several = ("--trainer.accelerator", "cpu", "--trainer.devices", 2)  # of which it uses one
    assert main("predict", "--ckpt_path", "last", "--data.predict_path", images / "test", *several) == 0, main.err
    assert len(best.indices.unique()) > 1, "one class alone shows nothing"
    expected = [
        f"{file}: {model.class_names[which]} {share:.1%}"
        for file, which, share in zip(files, best.indices, best.values, strict=True)
    ]
    assert [line for line in main.out.splitlines() if ".png: " in line] == expected


def test_runs_that_start_together_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(TensorBoardLogger, "_get_next_version", lambda _: 3)  # as each of them sees it
    loggers = [RunLogger(save_dir=str(tmp_path), name="colours") for _ in range(3)]
    assert [logger.version for logger in loggers] == [3, 4, 5] == [logger.version for logger in loggers]
    assert {Path(logger.log_dir).name for logger in loggers} == {path.name for path in tmp_path.glob("colours/*")}
    named = RunLogger(save_dir=str(tmp_path), name="colours", version=4)
    assert named.version == 4


def test_a_run_that_had_nothing_to_train_says_so(fit, main):
    fit()
    fit("--ckpt_path", "last", version=1)
    assert "nothing to train: 1 of 1 epochs were done; ask for more" in main.out
    fit("--ckpt_path", "last", "--trainer.max_epochs", 2, version=2)
    assert "training images per second" in main.out and "nothing to train" not in main.out


def test_check_flags_parses_without_building_anything():
    check_flags(["fit", "--trainer.max_epochs", "3", "--data.source", "nowhere"])
    check_flags(["fit", "--recipe", "quick", "--seeds", "0,1"])
    with pytest.raises(UserError, match="max_epochs") as error:
        check_flags(["fit", "--trainer.max_epochs", "three"])
    assert "\n" not in str(error.value)
