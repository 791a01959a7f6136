"""The tutorial's `loss`: its mean over a window of batches, printed, logged and kept as a curve."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_cifar.callbacks.progress import print_above_bar
from lightning_cifar.errors import UserError

IMAGES = 8_000
"""Images in a window: the tutorial's 2,000 batches of 4."""


def window_length(batch_size: int, batches: int | float) -> int:
    """Return how many batches make a window: 8,000 images, but at most a fifth of an epoch, and at least one batch.

    Args:
        batch_size: images in a batch, over all processes.
        batches: batches in an epoch; may be infinite.
    """
    return max(1, int(min(round(IMAGES / batch_size), batches / 5)))


class LossWindow(Callback):
    """Logs `loss` and `lr` at the end of each window of batches, and keeps the curves of `loss` and `val_loss`.

    Windows start anew with every epoch. Losses are summed on their device, over all processes; only the end of a window
    waits for it. A window that a checkpoint interrupts goes on in the resumed run.

    Args:
        length: batches in a window, at least 1; by default as many as `window_length` returns.

    Raises:
        UserError: `length` is below 1.
    """

    def __init__(self, length: int | None = None) -> None:
        if length is not None and length < 1:
            raise UserError(f"model.loss_window is {length}; give a number of batches, 1 or more")
        self._wanted = self._length = length
        self._total: Tensor | float = 0.0
        self._count = 0
        self._lr = 0.0
        self.loss_history: list[tuple[int, float]] = []
        self.val_history: list[tuple[int, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Settle the length of a window."""
        batch_size = (getattr(trainer.train_dataloader, "batch_size", None) or 1) * trainer.world_size
        self._length = self._wanted or window_length(batch_size, trainer.num_training_batches)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Read the learning rate of this step; at its end it may be that of the next."""
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a batch's loss, and log the mean where a window ends."""
        loss = outputs["loss"].float()  # a sum of bfloat16 would stand still after some hundred batches
        if trainer.accumulate_grad_batches > 1:  # Lightning has divided it by that
            loss = loss * trainer.accumulate_grad_batches
        self._total = self._total + loss
        self._count += 1
        if self._count == self._length or trainer.is_last_batch:
            self._log(trainer, batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is left of a window where an epoch ended before its last batch (`max_steps`)."""
        if self._count:
            self._log(trainer, trainer.fit_loop.batch_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep `val_loss` for the curve."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and "val_loss" in trainer.callback_metrics:
            self.val_history.append((trainer.global_step - 1, float(trainer.callback_metrics["val_loss"])))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the begun window, summed over all processes, and the curves."""
        total, count = self._over_all_processes(trainer)
        checkpoint["loss_window"] = {"total": total, "count": int(count)}
        checkpoint["loss_history"], checkpoint["val_history"] = self.loss_history, self.val_history

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with window and curves in a resumed training; each process takes an equal part of the window.

        A `test` of an earlier checkpoint leaves them alone.
        """
        if trainer.state.fn == "fit":
            window = checkpoint.get("loss_window", {"total": 0.0, "count": 0})  # none in another program's checkpoint
            self._total, self._count = window["total"] / trainer.world_size, window["count"] // trainer.world_size
            self.loss_history[:] = map(tuple, checkpoint.get("loss_history", ()))
            self.val_history[:] = map(tuple, checkpoint.get("val_history", ()))

    def _over_all_processes(self, trainer: Trainer) -> list[float]:
        device = trainer.strategy.root_device
        state = torch.zeros(2, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
        state[0] = self._total
        state[1].fill_(self._count)  # not assigned: PyTorch 2.11 would copy it from the CPU, and wait for that
        return trainer.strategy.reduce(state, reduce_op="sum").tolist()

    def _log(self, trainer: Trainer, batch_idx: int) -> None:
        # Not by `self.log`: Lightning forwards that only where the run-wide step is a multiple of
        # `log_every_n_steps`, and windows start anew with each epoch.
        step = trainer.global_step - 1
        total, count = self._over_all_processes(trainer)
        self._total, self._count = 0.0, 0
        loss = total / count
        if not math.isfinite(loss) and all(math.isfinite(before) for _, before in self.loss_history):
            rank_zero_warn(
                f"the loss is {loss} by step {step}, so the training has failed: try a lower learning rate "
                "(--optimizer.lr)"
            )
        self.loss_history.append((step, loss))
        for logger in trainer.loggers:
            logger.log_metrics({"loss": loss, "lr": self._lr}, step=step)
        print_above_bar(trainer, f"epoch={trainer.current_epoch + 1}, batch={batch_idx + 1:5}: loss {loss:.2f}")
