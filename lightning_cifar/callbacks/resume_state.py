"""What a resumed training needs besides the state that Lightning saves."""

from time import monotonic
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_cifar.errors import UserError


class ResumeState(Callback):
    """Keeps the random state in checkpoints, from which dropout draws, the optimizer's name, and the time taken.

    With it, a run that was interrupted and resumed ends with the very weights of an uninterrupted one (in one process,
    on the CPU).
    """

    def __init__(self) -> None:
        self._optimizer: str | None = None
        self._loaded: dict[str, Any] = {}
        self.seconds_before = 0.0
        """Wall time of the training in the runs that this one resumes."""
        self._started = monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return all three, for a checkpoint."""
        seconds = self.seconds_before + monotonic() - self._started
        return {"rng_state": torch.get_rng_state(), "optimizer": self._optimizer, "seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until the training begins."""
        self._loaded = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the optimizers, before Lightning loads the state of the one into the other.

        Raises:
            UserError: the checkpoint is another optimizer's.
        """
        self._optimizer = next((type(optimizer).__name__ for optimizer in trainer.optimizers), None)
        before = self._loaded.get("optimizer")
        if before not in (None, self._optimizer):
            raise UserError(
                f"the checkpoint was saved by a training with {before}, and its state is of no use to "
                f"{self._optimizer}; add --optimizer {before}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random state; not under several processes, whose states differ and only one of which is kept."""
        self.seconds_before, self._started = self._loaded.get("seconds", 0.0), monotonic()
        if self._loaded and trainer.world_size == 1:
            torch.set_rng_state(self._loaded["rng_state"])
        self._loaded = {}
