"""Carry in each checkpoint the metrics that have not yet arrived: the node may be lost together with its record.

A run that goes on from a checkpoint logs again what came after it, but not what came just before. (What a module logs
by `self.log` in the very step of a checkpoint is recorded only after it.)
"""

from itertools import islice
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_cifar.azure.logger import AzureMLLogger
from lightning_cifar.azure.outbox import Progress, read_entries
from lightning_cifar.azure.run import RunAddress

KEY = "azureml_unsent"
MOST_ENTRIES = 10_000
"""So many, the oldest, are carried through an outage; the record, which the platform uploads, has them all."""


class CarryUnsent(Callback):
    """Puts what an AzureMLLogger has not sent into checkpoints, and has a resumed run send it; each value once."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the trainer, unless in an Azure ML job: each callback costs 1 % of a tiny step."""
        if RunAddress.of_job() is None:
            trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the metrics that the service has not confirmed."""
        deliveries = [logger._delivery for logger in trainer.loggers if isinstance(logger, AzureMLLogger)]
        for outbox in (delivery.outboxes["metrics"] for delivery in deliveries if delivery):
            found = read_entries(outbox.path, Progress.read(outbox.path).offset) if outbox.size else iter(())
            metrics = (entry for entry, _ in found if entry and entry.keys() & {"metric", "table"})
            if unsent := list(islice(metrics, MOST_ENTRIES)):
                checkpoint[KEY] = unsent

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Record them anew; those that have arrived after all are not sent again."""
        for logger in trainer.loggers if trainer.is_global_zero and trainer.state.fn == "fit" else ():
            if isinstance(logger, AzureMLLogger) and (delivery := logger._open_delivery()):
                for entry in checkpoint.get(KEY, ()):
                    delivery.add("metrics", entry)
