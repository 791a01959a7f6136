"""Checkpoints reach the run as with Lightning's own loggers; what the platform uploads is not sent twice."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.backends import saved_model
from tests.azure.recorded import QUIET
from tests.deadline import deadline


class ValidatedModel(BoringModel):
    """Gets better from epoch to epoch, so that each has a checkpoint."""

    def validation_step(self, batch, batch_idx):
        self.log("score", float(self.current_epoch))


def fit(logger, folder):
    checkpoints = ModelCheckpoint(
        folder, "epoch{epoch}", monitor="score", mode="max", save_last=True, auto_insert_metric_name=False
    )
    options = {"limit_train_batches": 1, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    Trainer(max_epochs=3, logger=logger, callbacks=checkpoints, **options, **QUIET).fit(ValidatedModel())
    return checkpoints


@pytest.mark.parametrize(
    ("log_model", "names"),
    [
        (False, ()),
        (True, ("epoch2", "last")),
        ("all", ("epoch0", "epoch1", "epoch2", "last", "last-v1", "last-v2")),
    ],
)
def test_best_and_last_are_uploaded_as_they_were_saved(recorded, log_model, names):
    checkpoints = fit(AzureMLLogger(log_model=log_model), "elsewhere")
    files = recorded.files()
    assert set(files) == {f"checkpoints/{name}.ckpt" for name in names}
    if log_model:
        newest = "checkpoints/last-v2.ckpt" if log_model == "all" else "checkpoints/last.ckpt"
        assert files[newest] == Path(checkpoints.last_model_path).read_bytes()
        assert files["checkpoints/epoch2.ckpt"] == Path(checkpoints.best_model_path).read_bytes()
        tags = recorded.entries("media")[-1]["tags"]
        assert float(tags["best_model_score"]) == 2.0 and tags["best_model_path"].endswith("epoch2.ckpt")


@pytest.mark.parametrize(
    ("backend", "has_pandas", "saved"), [("mlflow", True, True), ("mlflow", False, False), ("v1", True, False)]
)
def test_by_mlflow_the_best_one_becomes_an_mlflow_model_among_the_outputs(
    recorded, monkeypatch, backend, has_pandas, saved
):
    monkeypatch.setattr(saved_model, "can_save", lambda: has_pandas)
    logger = AzureMLLogger(log_model=True, backend=backend, timeout=deadline(60))
    best = Path(fit(logger, "outputs/checkpoints").best_model_path)
    folder = Path("outputs/mlflow-model")
    assert not recorded.files() and folder.exists() == saved
    if saved:
        assert "mlflow.pytorch" in (folder / "MLmodel").read_text()
        model = torch.load(folder / "data" / "model.pth", weights_only=False)
        weights = torch.load(best, weights_only=True)["state_dict"]
        assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_what_lies_under_outputs_in_a_job_is_left_to_the_platform_but_its_score_is_recorded(recorded):
    fit(AzureMLLogger(log_model=True), "outputs/checkpoints")
    assert [set(entry) for entry in recorded.entries("media")] == [{"tags"}] and not recorded.files()
