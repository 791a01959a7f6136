"""The end of a training: figures in the run's folder and in every logger, and the summary that is printed."""

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule
from lightning_cifar.report import images_per_second, last_lines
from tests.conftest import make_folder

FIGURES = {"loss_curve", "confusion_matrix", "test_images"}
FIT = ("fit", "--data.val_size", 12, "--data.batch_size", 12, "--trainer.enable_progress_bar=false")


class Gallery(CSVLogger):
    """A logger of another kind, with Lightning's convention for images, as WandbLogger has it."""

    def log_image(self, key: str, images: list, step: int | None = None) -> None:
        with open(f"{self.save_dir}/images", "a") as file:  # noqa: PTH123
            print(key, [Image.open(image).format for image in images], step, file=file)


def test_loggers_of_other_kinds_get_the_figures_or_are_named(main, images):
    flags: list[str] = []
    for logger in ("CSVLogger", "tests.test_report.Gallery"):
        flags += [f"--trainer.logger+={logger}", "--trainer.logger.save_dir=other"]
    assert main(*FIT, "--data.source", images, "--trainer.max_epochs", 1, *flags) == 0, main.err
    assert main.out.count("no log_image") == main.out.count("CSVLogger: no log_image, so the figures are only in ") == 1
    logged = (main.folder / "other" / "images").read_text().splitlines()
    assert sorted(logged) == sorted(f"{name} ['PNG'] 9" for name in FIGURES)


def test_a_run_leaves_curves_and_pictures_in_tensorboard_and_pictures_in_its_folder(main, images):
    flags = ("--trainer.max_epochs", 2, "--trainer.log_every_n_steps", 4)
    assert main(*FIT, "--data.source", images, *flags) == 0, main.err
    folder = main.folder / "results" / "colours" / "version_0"
    events = EventAccumulator(str(folder)).Reload()
    points = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    # 9 batches an epoch: windows end after 4, 8 and 9
    assert points["loss"] == points["lr"] == [3, 7, 8, 12, 16, 17]
    assert points["val_loss"] == points["val_acc"] == [8, 17]
    assert points["test_loss"] == points["test_acc"] == points["test_acc/red"] == [18]
    assert set(events.Tags()["images"]) == FIGURES
    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as picture:
            (event,) = events.Images(name)
            assert (event.width, event.height) == picture.size and min(picture.size) > 200
            assert np.asarray(picture.convert("L")).std() > 5


def test_class_names_are_not_parsed_as_math(main, tmp_path_factory):
    odd = make_folder(tmp_path_factory.mktemp("data") / "odd", ["a$\\bad$b", "b$x_y^2 $"], 20, 2)
    assert main(*FIT, "--data.source", odd, "--trainer.max_epochs", 1) == 0, main.err  # matplotlib refuses these


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch_size", [28, 1_000_000])
def test_the_summary_counts_the_images_of_this_training(images, tmp_path, batch_size):
    data = CIFAR10DataModule(str(images), batch_size=batch_size, val_size=30)
    model = CIFAR10Classifier(class_names=data.class_names)
    quiet = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=2, accumulate_grad_batches=3, **quiet)
    trainer.fit(model, data)
    speed = images_per_second(trainer, model, data, 65.0)
    text = last_lines(trainer, model, data, 65.0, speed, tmp_path)
    assert "1 min 5 s" in text and "not tested (colours)" in text and str(tmp_path) in text
    assert f"  {2 * 90 / 65:.0f} training images per second" in text
    (tested,) = trainer.test(model, data, verbose=False)
    assert f"  {tested['test_acc']:.1%} (colours)" in last_lines(trainer, model, data, 65.0, speed, tmp_path)
