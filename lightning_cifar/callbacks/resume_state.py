"""What a resumed training needs besides the state that Lightning saves."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_cifar.errors import UserError


class ResumeState(Callback):
    """Keeps the random state in checkpoints, from which dropout draws, and the optimizer's name.

    With it, a run that was interrupted and resumed ends with the very weights of an uninterrupted one (in one process,
    on the CPU).
    """

    def __init__(self) -> None:
        self._rng_state: Tensor | None = None
        self._optimizer: str | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add both to a checkpoint."""
        checkpoint["rng_state"] = torch.get_rng_state()
        checkpoint["optimizer"] = _name(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take both out of the checkpoint of a resumed training, if it has them."""
        if trainer.state.fn == "fit":
            self._rng_state, self._optimizer = checkpoint.get("rng_state"), checkpoint.get("optimizer")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the optimizers, before Lightning loads the state of the one into the other.

        Raises:
            UserError: the checkpoint is another optimizer's.
        """
        before, now = self._optimizer, _name(trainer)
        if before not in (None, now):
            raise UserError(
                f"the checkpoint was saved by a training with {before}, and its state is of no use to {now}; "
                f"add --optimizer {before}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random state; not under several processes, whose states differ and only one of which is kept."""
        if self._rng_state is not None and trainer.world_size == 1:
            torch.set_rng_state(self._rng_state.cpu())
        self._rng_state = None


def _name(trainer: Trainer) -> str | None:
    return next((type(optimizer).__name__ for optimizer in trainer.optimizers), None)
