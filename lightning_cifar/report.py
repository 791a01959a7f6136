"""Report a training at its end: draw figures, print a summary."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_only

from lightning_cifar import figures
from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.datamodule import CIFAR10DataModule
from lightning_cifar.files import atomic_write


@rank_zero_only
def write_figures(trainer: Trainer, model: CIFAR10Classifier, data: CIFAR10DataModule, folder: Path) -> None:
    """Draw loss curve, confusion matrix and sample sheet as PNG into `folder`, and log them to every logger.

    Raises:
        OSError: a file cannot be written, for example because the disk is full.
    """
    paths = []
    for name, figure in draw(model, data).items():
        path = folder / f"{name}.png"
        with atomic_write(path) as file:
            figure.savefig(file, dpi=100)
        paths.append(path)
    without = [type(one).__name__ for one in trainer.loggers if not log_images(one, paths, trainer.global_step)]
    if without:
        print(f"{', '.join(without)}: no log_image, so the figures are only in {folder}")
    for logger in trainer.loggers:
        if model.confusion_matrix is not None and hasattr(logger, "log_confusion_matrix"):
            # as numbers, too, which Azure ML Studio draws by itself
            counts = model.confusion_matrix.tolist()
            logger.log_confusion_matrix("confusion", counts, model.class_names, step=trainer.global_step)


@rc_context({"text.parse_math": False})  # a class may be named "a$b$c", which is no formula
def draw(model: CIFAR10Classifier, data: CIFAR10DataModule) -> dict[str, Figure]:
    """Draw what a training has left: its curves, and what its test has found."""
    title = f"{type(model.net).__name__} on {describe(data)}"
    drawn: dict[str, Figure] = {}
    if model.loss_history:
        drawn["loss_curve"] = figures.loss_curves({"loss": model.loss_history, "val_loss": model.val_history}, title)
    if model.confusion_matrix is not None:
        names = model.class_names
        drawn["confusion_matrix"] = figures.confusion_matrix(model.confusion_matrix, names, title)
        images, labels = data.sample_test_images(40)
        model.eval()
        with torch.inference_mode():
            predicted = model(data.scale(images).to(model.device, model.dtype)).argmax(dim=1)  # type: ignore[arg-type]
        true, taken_for = ([names[i] for i in which] for which in (labels, predicted))
        drawn["test_images"] = figures.sample_sheet(images.cpu(), true, taken_for, title)
    return drawn


def log_images(logger: Any, paths: list[Path], step: int) -> bool:
    """Log pictures by Lightning's `log_image(key, images, step)` or TensorBoard's writer; return whether it has one."""
    if callable(getattr(logger, "log_image", None)):
        for path in paths:
            logger.log_image(path.stem, [str(path)], step=step)
        return True
    writer: Any = getattr(logger, "experiment", None)
    if not hasattr(writer, "add_image"):
        return False
    for path in paths:
        with Image.open(path) as picture:
            writer.add_image(path.stem, np.array(picture.convert("RGB")), step, dataformats="HWC")
    return True


def describe(data: CIFAR10DataModule) -> str:
    """Return the name of the data for figures: nobody must take the synthetic set for photographs."""
    return "SYNTHETIC images" if data.source.name == "synthetic" else data.source.name


def images_per_second(
    trainer: Trainer, model: CIFAR10Classifier, data: CIFAR10DataModule, seconds: float
) -> float | None:
    """Return how many images a second were trained on in a training of so many seconds; None if it trained nothing."""
    if model.first_batch is None:
        return None
    batches = trainer.fit_loop.total_batch_idx + 1 - model.first_batch
    loader = data.train_dataloader()
    images = batches * len(loader.sampler) / len(loader) * trainer.world_size  # the last batch may be smaller
    return images / max(seconds, 1e-9)


def last_lines(
    trainer: Trainer,
    model: CIFAR10Classifier,
    data: CIFAR10DataModule,
    seconds: float,
    speed: float | None,
    folder: Path,
) -> str:
    """Return how a training of so many seconds and its test went, and where the results are, in a few lines."""
    minutes, rest = divmod(round(seconds), 60)
    epochs = f"{trainer.current_epoch} of {trainer.max_epochs} epochs"
    nothing = f"nothing to train: {epochs} were done; ask for more of them"
    test_acc = trainer.callback_metrics.get("test_acc")
    lines = [
        "Finished Training",
        f"  wall time      {minutes} min {rest} s, validation included",
        f"  speed          {nothing if speed is None else f'{speed:,.0f} training images per second of it'}",
        f"  test accuracy  {'not tested' if test_acc is None else f'{test_acc:.1%}'} ({describe(data)})",
        f"  results        {folder} (config.yaml, summary.json, curves, figures, checkpoints)",
    ]
    if best := getattr(trainer.checkpoint_callback, "best_model_path", ""):
        lines.append(f"  best network   {best}")
    return "\n".join(lines)
