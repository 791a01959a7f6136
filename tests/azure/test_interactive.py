"""A run that the logger itself starts from a laptop: what it needs, and the words for how it ended."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import Mock

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure import backends
from lightning_cifar.azure.run_status import outcome as outcome_of
from lightning_cifar.errors import UserError


def test_a_workspace_whose_config_cannot_be_found_says_what_next(tmp_path, monkeypatch):
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "is_file", lambda path: False)  # nor in a folder above the test's
    with pytest.raises(UserError, match=r"^no config.json of an Azure ML workspace .*or pass workspace=$"):
        AzureMLLogger(experiment_name="e")


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("success", None, "Completed"),
        ("finished", None, "Completed"),
        ("failed", RuntimeError(), "Failed"),
        ("failed", None, "Failed"),
        ("failed", KeyboardInterrupt(), "Canceled"),
        ("failed", SIGTERMException(), "Canceled"),
        ("failed", SystemExit(0), "Completed"),
        ("failed", SystemExit(2), "Failed"),
    ],
)
def test_the_status_of_a_run_is_how_its_training_ended(status, error, outcome):
    assert outcome_of(status, error) == outcome


def test_a_missing_azureml_is_named_with_the_command_when_a_run_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "version", Mock(side_effect=PackageNotFoundError))
    monkeypatch.chdir(tmp_path)
    AzureMLLogger().log_metrics({"a": 1.0}, 0)
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    for use in (lambda logger: logger.experiment, lambda logger: logger.log_metrics({"a": 1.0}, 0)):
        with pytest.raises(UserError, match=r"azureml-core is not installed.*pip install azureml-core$"):
            use(AzureMLLogger())
