"""What the logger records on disk, read without any relay: a training, its records, and a job's environment."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from pytorch_lightning.demos.boring_classes import BoringModel

from lightning_cifar.azure import process
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.lines import is_header
from lightning_cifar.azure.outbox import files_folder, read_entries

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}


class LoggingModel(BoringModel):
    """Logs once per step and stage."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        self.log("train_loss", loss)
        return loss

    def on_train_epoch_end(self):
        if self.logger is not None:
            self.logger.log_metrics({"lr": 0.1})  # as people do: without a step

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", super().validation_step(batch, batch_idx)["x"])

    def test_step(self, batch, batch_idx):
        self.log("test_loss", super().test_step(batch, batch_idx)["y"])


class Records:
    """The records that the loggers of this process wrote; `drains` has the limit, in seconds, of each wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drains: list[float] = []

    def paths(self, kind: str = "metrics") -> list[Path]:
        return sorted(self.folder.rglob(f"azureml-metrics/*-{kind}.jsonl"))

    def entries(self, kind: str = "metrics") -> list[dict[str, Any]]:
        """Return the entries as another process would read them, were this one killed now."""
        return [entry for path in self.paths(kind) for entry, _ in read_entries(path) if not is_header(entry)]

    def points(self) -> list[tuple[str, int, float]]:
        """Return (name, step, value) of the metrics that are to be sent, in order."""
        entries = [entry for entry in self.entries() if "metric" in entry and "skip" not in entry]
        return [(entry["metric"], entry["step"], entry["value"]) for entry in entries]

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that are to be uploaded, by artifact name."""
        folders = [files_folder(path) for path in self.paths("media")]
        files = [(folder, file) for folder in folders for file in folder.rglob("*") if file.is_file()]
        return {str(file.relative_to(folder)): file.read_bytes() for folder, file in files}


def without_relay(drains: list[float], replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let no relay start in this process, nor anything be waited for: what is logged stays on disk."""
    replace(process, "start_relay", Mock(side_effect=OSError("no memory for another process")))
    replace(Delivery, "drain", lambda self, seconds: drains.append(seconds))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """An empty folder, outside of any job."""
    records = Records(tmp_path)
    without_relay(records.drains, monkeypatch.setattr)
    for name in [name for name in os.environ if name.startswith(("AZUREML_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return records


@pytest.fixture
def recorded(outside: Records, monkeypatch: pytest.MonkeyPatch) -> Records:
    """The same inside the job of run `run-1`, of experiment `cifar10`."""
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    for name, value in {"PROJECT_NAME": "cifar10", "WORKSPACE_NAME": "w", "RESOURCEGROUP": "g"}.items():
        monkeypatch.setenv(f"AZUREML_ARM_{name}", value)
    return outside
