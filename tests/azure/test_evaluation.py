"""A standalone `test` or `validate` is a point of the curve: at the checkpoint's step."""

import pytest
from pytorch_lightning import Trainer

from lightning_cifar import AzureMLLogger
from tests.azure.recorded import QUIET, LoggingModel

FEW = {"limit_train_batches": 4, "limit_val_batches": 1, "limit_test_batches": 1, "log_every_n_steps": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of step 4, whose trainer is gone."""
    folder = tmp_path_factory.mktemp("checkpoint")
    trainer = Trainer(max_epochs=1, default_root_dir=folder, logger=False, **FEW, **QUIET)
    trainer.fit(LoggingModel())
    trainer.save_checkpoint(folder / "some.ckpt")
    return folder / "some.ckpt"


def trainer_of(recorded, **options):
    return Trainer(logger=AzureMLLogger(), enable_checkpointing=False, **FEW, **QUIET, **options)


@pytest.mark.parametrize("how", ["test", "validate"])
def test_a_standalone_evaluation_has_the_checkpoints_step_and_what_follows_its_own(recorded, checkpoint, how):
    trainer = trainer_of(recorded)
    getattr(trainer, how)(LoggingModel(), ckpt_path=checkpoint)
    trainer.logger.log_metrics({"mine": 1.0}, step=100)
    points = {(name, step) for name, step, _ in recorded.points()}
    assert points == {(f"{how.removesuffix('idate')}_loss", 4), ("epoch", 4), ("mine", 100)}


def test_without_a_checkpoint_it_is_at_step_zero(recorded):
    trainer_of(recorded).test(LoggingModel())
    assert {(name, step) for name, step, _ in recorded.points()} == {("test_loss", 0), ("epoch", 0)}


def test_training_and_the_test_after_it_keep_the_trainers_own_steps(recorded, checkpoint):
    trainer = trainer_of(recorded, max_epochs=2)
    trainer.fit(LoggingModel(), ckpt_path=checkpoint)
    trainer.test(LoggingModel(), ckpt_path=checkpoint)
    losses = ("train_loss", "val_loss", "test_loss")
    steps = {name: {s for n, s, _ in recorded.points() if n == name} for name in losses}
    assert steps == {"train_loss": {5, 7}, "val_loss": {7}, "test_loss": {8}}
