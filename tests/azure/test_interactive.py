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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no config.json of an Azure ML workspace"),
        ("[]", "is not the JSON of an Azure ML workspace"),
        ('{"subscription_id": "s", "workspace_name": "w"}', "lacks resource_group"),
    ],
)
def test_a_workspace_config_that_cannot_be_used_says_what_and_what_next(tmp_path, monkeypatch, content, message):
    monkeypatch.delenv("AZUREML_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    is_file = Path.is_file  # what lies above the test's folder is none of its business
    monkeypatch.setattr(Path, "is_file", lambda path: path.is_relative_to(tmp_path) and is_file(path))
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message) as raised:
        AzureMLLogger(experiment_name="e")
    assert len(str(raised.value).splitlines()) == 1


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
