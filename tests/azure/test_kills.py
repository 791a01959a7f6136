"""Thirty points of the campaign of kills: `scripts/benchmarks/kills.py`, against a service that is a folder."""

from scripts.benchmarks.hurried_relay import IN_FLIGHT
from scripts.benchmarks.kills import KINDS, campaign
from tests.azure.conftest import FAKE
from tests.azure.fake_backend import FakeService


def test_whatever_is_killed_nothing_is_lost_or_sent_twice(tmp_path):
    service = FakeService(tmp_path / "service")

    def job(run_id):
        return {"AZUREML_RUN_ID": run_id, "FAKE_SERVICE": str(service.folder), IN_FLIGHT: "0.05"}

    killed, metrics = campaign(tmp_path, FAKE, job, service.points, kills=30, metrics=3000, seed=0)

    assert killed.total() == 30 and set(killed) == set(KINDS) and metrics >= 3000
