"""A standalone `test` or `validate` is a point of the curve: at the checkpoint's step."""

import pytest
from pytorch_lightning import Trainer

from tests.azure.test_conventions import QUIET, LoggingModel

FEW = {"limit_train_batches": 4, "limit_val_batches": 1, "limit_test_batches": 1, "log_every_n_steps": 2}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of step 4, whose trainer is gone."""
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, logger=False, **FEW, **QUIET)
    trainer.fit(LoggingModel())
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def trainer_of(job, tmp_path, **options):
    return Trainer(
        default_root_dir=tmp_path, logger=job.logger(), enable_checkpointing=False, **FEW, **QUIET, **options
    )


@pytest.mark.parametrize("how", ["test", "validate"])
def test_a_standalone_evaluation_has_the_checkpoints_step(job, tmp_path, checkpoint, how):
    trainer = trainer_of(job, tmp_path)
    getattr(trainer, how)(LoggingModel(), ckpt_path=checkpoint)
    assert {(name, step) for name, step, _ in job.points()} == {
        (f"{how.removesuffix('idate')}_loss", 4),
        ("epoch", 4),
    }


def test_a_checkpoint_with_more_than_weights_in_it_is_read_as_well(job, tmp_path, checkpoint):
    import torch

    content = torch.load(checkpoint, weights_only=False)
    torch.save(content | {"something": Trainer}, checkpoint)
    trainer_of(job, tmp_path).test(LoggingModel(), ckpt_path=checkpoint, weights_only=False)
    assert ("test_loss", 4) in {(name, step) for name, step, _ in job.points()}


def test_training_and_the_test_after_it_keep_the_trainers_own_steps(job, tmp_path, checkpoint):
    trainer = trainer_of(job, tmp_path, max_epochs=2)
    trainer.fit(LoggingModel(), ckpt_path=checkpoint)
    trainer.test(LoggingModel(), ckpt_path=checkpoint)
    steps = {name: {s for n, s, _ in job.points() if n == name} for name in ("train_loss", "val_loss", "test_loss")}
    assert steps == {"train_loss": {5, 7}, "val_loss": {7}, "test_loss": {8}}


def test_a_step_that_is_logged_after_a_standalone_evaluation_is_not_shifted(job, tmp_path, checkpoint):
    trainer = trainer_of(job, tmp_path)
    trainer.test(LoggingModel(), ckpt_path=checkpoint)
    trainer.logger.log_metrics({"mine": 1.0}, step=100)
    assert '"metric": "mine", "value": 1.0, "step": 100,' in job.spool().read_text()
