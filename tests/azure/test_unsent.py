"""Metrics that had not arrived when a checkpoint was saved reach the run from whoever resumes it, each once."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.outbox import Progress
from lightning_cifar.azure.unsent import KEY, CarryUnsent
from tests.azure.recorded import QUIET, LoggingModel, Records


class SaveAt(Callback):
    """Saves a checkpoint at the end of a batch, as the clock does."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == self.batch:
            trainer.save_checkpoint(self.path)


def fit(*callbacks: Callback, ckpt_path: Path | None = None) -> None:
    options = {"limit_val_batches": 0, "log_every_n_steps": 1, "enable_checkpointing": False, "max_steps": 4}
    trainer = Trainer(logger=AzureMLLogger(), callbacks=[CarryUnsent(), *callbacks], **options, **QUIET)
    trainer.fit(LoggingModel(), ckpt_path=ckpt_path)


def losses(records: Records) -> list[int]:
    return [step for name, step, _ in records.points() if name == "train_loss"]


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before the epoch ended")
def test_a_resumed_run_sends_what_a_lost_node_had_recorded_before_its_checkpoint(recorded, tmp_path):
    saved = tmp_path / "last.ckpt"
    fit(SaveAt(2, saved))
    carried = torch.load(saved, weights_only=True)[KEY]
    assert [entry["step"] for entry in carried if entry["metric"] == "train_loss"] == [0, 1], "Lightning logs 2 later"
    for path in recorded.paths():
        path.unlink()
    fit(ckpt_path=saved)
    assert losses(recorded) == [0, 1, 3]


def test_what_has_arrived_is_not_carried(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(Progress, "read", lambda record: Progress(offset=record.stat().st_size))
    fit(SaveAt(2, tmp_path / "last.ckpt"))
    assert KEY not in torch.load(tmp_path / "last.ckpt", weights_only=True)


def test_outside_a_job_nothing_is_added_to_a_checkpoint(outside, tmp_path):
    fit(SaveAt(2, tmp_path / "last.ckpt"))
    assert KEY not in torch.load(tmp_path / "last.ckpt", weights_only=True)
