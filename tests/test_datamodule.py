"""The data module: the split, the memory, the sources, with and without the command line."""

import functools
import shutil
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule
from lightning_cifar.data.folder import FolderSource
from lightning_cifar.data.synthetic import SyntheticSource
from lightning_cifar.errors import UserError
from lightning_cifar.loader import BatchLoader
from tests.data.stand_in import publish

NO_MIRROR = "--data.mirrors=[http://127.0.0.1:9/archive]"  # a port where nobody listens
QUICK = ("--data.val_size", 12, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar=false")


def module(folder: Path, **options) -> CIFAR10DataModule:
    data = CIFAR10DataModule(str(folder), **{"val_size": 30, **options})
    data.prepare_data()
    data.setup()
    return data


def pictures(loader: BatchLoader) -> set[bytes]:
    return {image.numpy().tobytes() for images, _ in loader for image in images}


def test_training_validation_and_test_share_no_image(images):
    data = module(images)
    train, val, test = (
        pictures(loader()) for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader)
    )
    assert (len(train), len(val), len(test)) == (90, 30, 30)
    assert not train & val and not train & test and not val & test


def test_only_split_seed_chooses_the_validation_images(images, monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    first = pictures(module(images).val_dataloader())
    seed_everything(1234, verbose=False)
    torch.rand(100)
    assert pictures(module(images).val_dataloader()) == first
    assert pictures(module(images, batch_size=7, augment="crop_flip").val_dataloader()) == first
    assert pictures(module(images, split_seed=1).val_dataloader()) != first


def test_without_validation_there_is_no_loader_and_no_image_is_kept_back(images):
    data = module(images, val_size=0)
    assert data.val_dataloader() == []
    assert len(pictures(data.train_dataloader())) == 120


@pytest.mark.parametrize(("count", "size"), [(7, 0), (120, 12), (50_000, 5000), (60_000, 5000)])
def test_validation_takes_a_tenth_of_a_small_set_and_5000_of_cifar_10(count, size):
    train, val = CIFAR10DataModule("synthetic")._split(count)
    assert len(val) == size and sorted([*train.tolist(), *val.tolist()]) == list(range(count))


@pytest.mark.parametrize("count", [6, 50, 120, 1000])
def test_some_training_images_are_of_all_classes_though_a_folder_has_them_one_after_another(images, count):
    data = module(images, val_size=0)
    some = data.training_images(count)
    assert len(some) == min(count, 120)
    train = data._sets["train"]
    pairs = zip(data.scale(train.images), train.labels, strict=True)
    label_of = {image.numpy().tobytes(): int(label) for image, label in pairs}
    assert {label_of[image.numpy().tobytes()] for image in some} == {0, 1, 2}


def test_holds_the_training_images_once(images):
    data = module(images)
    held = data._sets["train"].images
    assert held.dtype == torch.uint8 and held.shape == (120, 3, 32, 32)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert loader._pixels.untyped_storage().data_ptr() == held.untyped_storage().data_ptr()


def test_augmentation_changes_the_training_images_and_no_others(images):
    plain, augmented = module(images), module(images, augment="crop_flip")
    unchanged = pictures(plain.train_dataloader()) & pictures(augmented.train_dataloader())
    assert len(unchanged) < 10, "one in 162 is neither shifted nor mirrored"
    assert pictures(plain.val_dataloader()) == pictures(augmented.val_dataloader())
    assert pictures(plain.test_dataloader()) == pictures(augmented.test_dataloader())


def test_only_visible_images_are_predicted(images, tmp_path):
    shutil.copytree(images / "test", tmp_path / "mine")
    for hidden in (".cache/a.png", "red/.b.png", "red/Thumbs.db"):
        (tmp_path / "mine" / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / hidden).write_text("no image")
    assert len(CIFAR10DataModule(predict_path=tmp_path / "mine").predict_files()) == 30


@pytest.mark.filterwarnings("ignore")
def test_each_split_is_read_once_and_when_it_is_needed(images, tmp_path, monkeypatch):
    calls = []
    prepare, load = FolderSource.prepare, FolderSource.load
    monkeypatch.setattr(FolderSource, "prepare", lambda self: (calls.append("prepare"), prepare(self)))
    monkeypatch.setattr(FolderSource, "load", lambda self, split: (calls.append(split), load(self, split))[1])
    model, data = CIFAR10Classifier(class_names=["a", "b", "c"]), CIFAR10DataModule(str(images), val_size=30)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=1, limit_train_batches=1, **quiet)
    trainer.fit(model, data)
    assert calls == ["prepare", "train"]
    trainer.validate(model, data, verbose=False)
    trainer.test(model, data, verbose=False)
    assert calls == ["prepare", "train", "test"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "data.batch_size is 0; give a number of 1 or more"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1; give"),
        ({"val_size": -1}, "data.val_size is -1; give a number of 0 or more"),
        ({"val_size": 120}, "there are only 120 training images; give a number below 120, or leave .* out for 12"),
    ],
)
def test_impossible_sizes_are_refused(images, options, says):
    with pytest.raises(UserError, match=says):
        module(images, **options)


@pytest.mark.filterwarnings("ignore")
def test_classifier_and_data_module_work_without_the_command_line(images, tmp_path):
    data = CIFAR10DataModule(str(images), batch_size=10, val_size=30)
    model = CIFAR10Classifier(class_names=data.class_names)
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    (result,) = trainer.test(model, data, verbose=False)
    assert trainer.global_step == 27 and result["test_acc"] > 0.3
    again = CIFAR10Classifier.load_from_checkpoint(trainer.checkpoint_callback.best_model_path)
    assert again.class_names == ["blue", "green", "red"]


@pytest.fixture
def few_synthetic(monkeypatch):
    """Let the built-in set be small: 50,000 images take seconds to draw."""
    small = functools.partialmethod(SyntheticSource.__init__, train_size=200, test_size=50)
    monkeypatch.setattr(SyntheticSource, "__init__", small)


def test_cifar10_from_its_archive(main, tmp_path, monkeypatch):
    publish(tmp_path / "origin", monkeypatch).put_archive(main.folder / "data")
    assert main("fit", NO_MIRROR, *QUICK) == 0, main.err
    run = main.folder / "results" / "cifar10" / "version_0"
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["class_names"][:2] == ["airplane", "automobile"]
    assert saved["global_step"] == 22  # 100 images less 12, in fours


def test_the_fallback_is_announced_marks_the_results_and_lasts_one_run(main, few_synthetic, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, title, **_: titles.append(title))
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda self, title, **_: titles.append(title))
    assert main("fit", NO_MIRROR, "--data.fallback", "synthetic", *QUICK) == 0, main.err
    assert "TRAINING ON SYNTHETIC IMAGES" in main.err
    assert "(SYNTHETIC images)" in main.out
    assert [path.name for path in (main.folder / "results").iterdir()] == ["synthetic"]
    run = main.folder / "results" / "synthetic" / "version_0"
    assert all("source: synthetic" in (run / name).read_text() for name in ("hparams.yaml", "config.yaml"))
    assert sum("SYNTHETIC images" in title for title in titles) == 3

    assert main("fit", NO_MIRROR, *QUICK) == 1
    assert "Connection refused" in main.err.splitlines()[-1]
