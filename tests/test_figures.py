"""Figures: what they show of known data."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lightning_cifar import figures


@pytest.mark.parametrize("validated", [True, False])
def test_the_loss_curve_shows_every_window_over_the_step(validated):
    loss, val_loss = [(99, 2.2), (199, 1.9), (249, 1.8)], [(249, 1.7)] if validated else []
    axes = figures.loss_curves({"loss": loss, "val_loss": val_loss}, "Net on colours").axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"loss": [list(p) for p in loss]} | ({"val_loss": [[249, 1.7]]} if validated else {})
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("step", "cross-entropy", "Net on colours")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)


@pytest.mark.parametrize("classes", [2, 37])
def test_the_confusion_matrix_has_true_classes_as_rows(classes):
    names = [f"class {i}" for i in range(classes)]
    counts = torch.diag(torch.full((classes,), 6))
    counts[0, 1] = 2  # 2 of 8 of class 0 taken for class 1
    axes = figures.confusion_matrix(counts, names, "Net on colours").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == names
    assert np.array_equal(axes.images[0].get_array(), counts)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(written) == (classes**2 if classes <= 30 else 0) and written.get((1, 0), "2") == "2"


@pytest.mark.parametrize("wrong", [(), (1, 4, 7)])
def test_the_sheet_of_test_images_frames_each_mistake_in_red(wrong):
    images = torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1).expand(9, 3, 32, 32) + 100
    predicted = ["dog" if index in wrong else "cat" for index in range(9)]
    figure = figures.sample_sheet(images, ["cat"] * 9, predicted, "Net on colours")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 9
    for index, axes in enumerate(shown):
        picture = np.asarray(axes.images[0].get_array())
        assert picture.shape == (32, 32, 3) and (picture == 100 + index).all()
        assert axes.get_title() == ("cat\nnot dog" if index in wrong else "cat")
        assert to_rgb(axes.title.get_color()) == to_rgb("tab:red" if index in wrong else "black")
        for spine in axes.spines.values():
            assert spine.get_visible() == (index in wrong) and to_rgb(spine.get_edgecolor()) == to_rgb("tab:red")
    assert figure.get_suptitle() == f"Net on colours: {len(wrong)} of 9 wrong"
