"""The progress bar, and lines above it."""

from time import monotonic
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities import rank_zero_only


@rank_zero_only
def print_above_bar(trainer: Trainer, line: str) -> None:
    """Print a line in process 0, above the progress bar where there is one."""
    bar = trainer.progress_bar_callback
    (print if bar is None else bar.print)(line)


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar, updated three times a second instead of at each batch.

    At batch 4 an update of the bar takes as long as two steps.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=5)
        self._due = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar, if it is time to, or the epoch ends."""
        now = monotonic()
        if now >= self._due or trainer.is_last_batch:
            self._due = now + 1 / 3
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
