"""Lookahead: the network goes back, every few steps, to a moving average of itself."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class Lookahead(WeightAveraging):
    """Replaces all floating-point state by its moving average every few steps, and at the end of the training.

    The average's decay grows with the share of the training that is done: `decay ** every * share ** power`.
    Source: Zhang et al. 2019, https://arxiv.org/abs/1907.08610; the schedule is airbench94's,
    https://arxiv.org/abs/2404.00498.

    Args:
        every: steps between two updates, at least 1.
        decay: of a step, 0 to 1.
        power: of the share of the training, at least 0.
    """

    def __init__(self, every: int = 5, decay: float = 0.95, power: float = 3.0) -> None:
        super().__init__(avg_fn=self._average)
        self._every, self._decay, self._power = every, decay, power
        self._keep = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the count of updates to the CPU: each update reads it, and would wait for a GPU."""
        average: Any = self._average_model
        average.n_averaged = average.n_averaged.cpu()

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether a step is the last of `every`."""
        return step_idx is not None and (step_idx + 1) % self._every == 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, and put it into the network."""
        before = self._latest_update_step
        share = trainer.global_step / trainer.estimated_stepping_batches
        self._keep = self._decay**self._every * share**self._power
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._latest_update_step != before:
            self._copy_average_to_current(pl_module)

    def _average(self, average: Tensor, current: Tensor, _: Any) -> Tensor:
        return average.lerp(current, 1 - self._keep) if average.is_floating_point() else current
