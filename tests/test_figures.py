"""Figures: what they show of known data, and where they end up."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule, figures
from lightning_cifar.report import summary


def pixels(figure: Figure) -> np.ndarray:
    """Draw a figure as uint8 (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("validated", [True, False])
def test_the_loss_curve_shows_every_window_over_the_step(validated):
    loss, val_loss = [(99, 2.2), (199, 1.9), (249, 1.8)], [(249, 1.7)] if validated else []
    axes = figures.loss_curve(loss, val_loss, "Net on colours").axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"loss": [list(p) for p in loss]} | ({"val_loss": [[249, 1.7]]} if validated else {})
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("step", "cross-entropy", "Net on colours")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)


@pytest.mark.parametrize("classes", [2, 10, 37])
def test_the_confusion_matrix_has_true_classes_as_rows_and_shares_as_shades(classes):
    names = [f"class {i}" for i in range(classes)]
    counts = torch.diag(torch.full((classes,), 6))
    counts[0, 1] = 2  # 2 of 8 of class 0 taken for class 1
    figure = figures.confusion_matrix(counts, names, "Net on colours")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == names
    shades = axes.images[0].get_array()
    assert shades[0, 1] == pytest.approx(0.25) and shades[1, 0] == 0 and shades[1, 1] == 1
    written = {text.get_position(): text.get_text() for text in axes.texts}
    if classes <= 30:
        assert written[(1, 0)] == "2" and written[(0, 0)] == "6" and len(written) == classes**2
    assert pixels(figure).std() > 5


def test_a_class_without_test_images_is_an_empty_row():
    counts = torch.tensor([[3, 1], [0, 0]])
    assert figures.confusion_matrix(counts, ["a", "b"], "").axes[0].images[0].get_array()[1].tolist() == [0, 0]


def test_names_are_no_formulas(tmp_path):
    names, title = [r"a$\bad$b", "b$x_y^2 $"], r"Net on $\bad$"
    for figure in (
        figures.loss_curve([(1, 2.0)], [], title),
        figures.confusion_matrix(torch.eye(2), names, title),
        figures.sample_sheet(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), names, names[::-1], title),
    ):
        figure.savefig(tmp_path / "it.png")  # matplotlib refuses what is no formula


@pytest.mark.parametrize("wrong", [(), (0,), (1, 4, 7)])
def test_the_sheet_of_test_images_frames_each_mistake_in_red(wrong):
    images = torch.full((9, 3, 32, 32), 128, dtype=torch.uint8)
    true = ["cat"] * 9
    predicted = ["dog" if index in wrong else "cat" for index in range(9)]
    figure = figures.sample_sheet(images, true, predicted, "Net on colours")
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 9
    for index, axis in enumerate(shown):
        picture = np.asarray(axis.images[0].get_array())
        frame, inside = tuple(picture[0, 0]), picture[4:-4, 4:-4]
        assert frame == ((214, 39, 39) if index in wrong else (255, 255, 255))
        assert inside.shape == (32, 32, 3) and (inside == 128).all()
        assert axis.get_title() == ("cat\nnot dog" if index in wrong else "cat")
        assert to_rgb(axis.title.get_color()) == to_rgb("tab:red" if index in wrong else "black")
    assert figure.get_suptitle() == f"Net on colours: {len(wrong)} of 9 wrong"
    reddish = (pixels(figure).astype(int) @ [1, -1, 0] > 100).sum()
    assert (reddish > 0) == bool(wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch_size", [10, 28, 1_000_000])
def test_the_summary_counts_the_images_of_this_training(images, tmp_path, batch_size):
    data = CIFAR10DataModule(str(images), batch_size=batch_size, val_size=30)
    model = CIFAR10Classifier(class_names=data.class_names)
    quiet = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=2, accumulate_grad_batches=3, **quiet)
    trainer.fit(model, data)
    text = summary(trainer, model, data, 65.0, 0.5, tmp_path)
    assert "1 min 5 s" in text and "50.0% (colours)" in text and str(tmp_path) in text
    assert f"  {2 * 90 / 65:.0f} training images per second" in text


def test_a_run_leaves_curves_and_pictures_in_tensorboard_and_pictures_in_its_folder(main, images):
    args = ("--data.val_size", 12, "--data.batch_size", 12, "--trainer.max_epochs", 2)
    steps = ("--trainer.log_every_n_steps", 4, "--trainer.enable_progress_bar=false")
    assert main("fit", "--data.source", images, *args, *steps) == 0, main.err
    folder = main.folder / "results" / "colours" / "version_0"
    events = EventAccumulator(str(folder)).Reload()
    points = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    # 9 batches an epoch: windows end after 4, 8 and 9
    assert points["loss"] == points["lr"] == [3, 7, 8, 12, 16, 17]
    assert points["val_loss"] == points["val_acc"] == [8, 17]
    assert points["test_loss"] == points["test_acc"] == points["test_acc/red"] == [18]
    names = {"loss_curve", "confusion_matrix", "test_images"}
    assert set(events.Tags()["images"]) == names
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            (event,) = events.Images(name)
            assert (event.width, event.height) == picture.size and min(picture.size) > 200
            assert np.asarray(picture.convert("L")).std() > 5
