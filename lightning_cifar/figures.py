"""Draw the figures of a training: data in, matplotlib figure out, without Trainer or logger."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.utilities.plot import plot_confusion_matrix


def loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]], title: str) -> Figure:
    """Draw curves of the loss by their names, (step, loss) each, over the step; leave out empty ones."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        if curve:
            axes.plot(*zip(*curve, strict=True), marker="o" if len(curve) < 40 else "", markersize=3, label=name)
    axes.set(xlabel="step", ylabel="cross-entropy", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def confusion_matrix(counts: Tensor, class_names: Sequence[str], title: str) -> Figure:
    """Draw how many images of each class (rows) were taken for each (columns): counts (classes, classes)."""
    classes = len(class_names)
    side = min(max(4.0, 0.6 * classes + 1.5), 20)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    plot_confusion_matrix(counts, axes, add_text=classes <= 30, labels=list(class_names), cmap="Blues")
    axes.set_title(title)
    return figure


def sample_sheet(images: Tensor, true: Sequence[str], predicted: Sequence[str], title: str) -> Figure:
    """Draw test images, uint8 (N, 3, height, width), with N true and predicted classes, mistakes framed in red."""
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.6 * rows + 0.4), layout="constrained")
    figure.subplots(rows, columns, subplot_kw={"xticks": [], "yticks": [], "visible": False})
    for axes, image, t, p in zip(figure.axes, images, true, predicted, strict=False):  # the last row has gaps
        axes.set(visible=True)
        axes.imshow(image.permute(1, 2, 0))
        axes.spines[:].set(visible=t != p, color="tab:red", linewidth=3)
        axes.set_title(t if t == p else f"{t}\nnot {p}", size=8, color="black" if t == p else "tab:red")
    wrong = sum(t != p for t, p in zip(true, predicted, strict=True))
    figure.suptitle(f"{title}: {wrong} of {len(images)} wrong", size=10)
    return figure
