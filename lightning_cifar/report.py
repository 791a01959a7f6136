"""The end of a training: figures in the run's folder and in every logger, and the lines a person reads."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from lightning_cifar import figures
from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.datamodule import CIFAR10DataModule
from lightning_cifar.errors import UserError
from lightning_cifar.loader import to_float

SHEET = 40
"""Images on the sheet of test images."""


@rank_zero_only
def write_figures(trainer: Trainer, model: CIFAR10Classifier, data: CIFAR10DataModule, folder: Path) -> list[Path]:
    """Draw loss curve, confusion matrix and sample sheet as PNG into `folder`, and show them to the loggers.

    Loggers are given them by `log_image(key, images, step)`, where they have it, as paths; TensorBoard as figures.

    Returns:
        The files written.

    Raises:
        UserError: one cannot be, because the disk is full, say.
    """
    title = f"{type(model.net).__name__} on {describe(data)}"
    drawn: dict[str, Figure] = {}
    if model.loss_history:
        drawn["loss_curve"] = figures.loss_curve(model.loss_history, model.val_history, title)
    if model.confusion_matrix is not None:
        drawn["confusion_matrix"] = figures.confusion_matrix(model.confusion_matrix, model.class_names, title)
        images, labels = data.sample_test_images(SHEET)
        model.eval()
        with torch.inference_mode():
            predicted = model(to_float(images).to(model.device, model.dtype)).argmax(dim=1)  # type: ignore[arg-type]
        names = model.class_names
        drawn["test_images"] = figures.sample_sheet(
            images.cpu(), [names[i] for i in labels], [names[i] for i in predicted], title
        )
    paths = []
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=100)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(
                f"the training has ended and its checkpoints are saved, but {path} cannot be written "
                f"({error.strerror or error}); make room, then test --ckpt_path last"
            ) from error
        paths.append(path)
    for logger in trainer.loggers:
        show(logger, paths, trainer.global_step)
        if model.confusion_matrix is not None and hasattr(logger, "log_confusion_matrix"):
            # as numbers, too, which Azure ML Studio draws by itself
            counts = model.confusion_matrix.tolist()
            logger.log_confusion_matrix("confusion", counts, model.class_names, step=trainer.global_step)
    return paths


def show(logger: Any, paths: list[Path], step: int) -> None:
    """Hand pictures to a logger: by its `log_image`, or to TensorBoard's writer."""
    for path in paths:
        if callable(getattr(logger, "log_image", None)):
            logger.log_image(path.stem, [str(path)], step=step)
        elif isinstance(logger, TensorBoardLogger):
            picture = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
            logger.experiment.add_image(path.stem, picture, step, dataformats="HWC")


def describe(data: CIFAR10DataModule) -> str:
    """Name the data in figures: nobody must take the synthetic set for photographs."""
    return "SYNTHETIC images" if data.source.name == "synthetic" else data.source.name


def summary(
    trainer: Trainer,
    model: CIFAR10Classifier,
    data: CIFAR10DataModule,
    seconds: float,
    test_acc: float | None,
    folder: Path,
) -> str:
    """Say how a training went and where everything lies, in a few lines.

    Args:
        trainer: after `fit` and `test`.
        model: what was trained.
        data: what it was trained on.
        seconds: wall time of `fit`.
        test_acc: 0 to 1; None where nothing was tested.
        folder: the run's.
    """
    minutes, rest = divmod(round(seconds), 60)
    if model.first_batch is None:
        speed = (
            f"nothing to train: {trainer.current_epoch} of {trainer.max_epochs} epochs were done; ask for more of them"
        )
    else:
        batches = trainer.fit_loop.total_batch_idx + 1 - model.first_batch
        images = batches * data.images_per_batch * trainer.world_size
        speed = f"{images / max(seconds, 1e-9):,.0f} training images per second of it"
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    lines = [
        "Finished Training",
        f"  wall time      {minutes} min {rest} s, validation included",
        f"  speed          {speed}",
        f"  test accuracy  {'not tested' if test_acc is None else f'{test_acc:.1%}'} ({describe(data)})",
        f"  results        {folder} (config.yaml, curves, figures, checkpoints)",
    ]
    if best:
        lines.append(f"  best network   {best}")
    return "\n".join(lines)
