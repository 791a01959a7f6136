"""The lines that `predict` prints."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter


class PredictionPrinter(BasePredictionWriter):
    """Prints file, class and probability of each image."""

    def __init__(self) -> None:
        super().__init__("epoch")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Print one line for each image, in the order of the files."""
        files = trainer.datamodule.predict_files()  # type: ignore[attr-defined]
        mine = list(trainer.predict_dataloaders.sampler)  # type: ignore[union-attr]
        probabilities = [image for batch in predictions for image in batch]
        for index, probability in zip(mine, probabilities, strict=True):
            best = int(probability.argmax())
            print(f"{files[index]}: {pl_module.class_names[best]} {probability[best]:.1%}")  # type: ignore[index]
