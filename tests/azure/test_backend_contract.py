"""What every backend promises, whatever state its service is in: each suite runs with the unmodified SDK.

A relay (a real one) sends records to the loopback service; another SDK joins by its name in `BACKENDS`.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from PIL import Image

from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import Outbox, Progress, files_folder, pending, sent_file
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import TOKEN_VARIABLES
from scripts.emulator.proxy import _Connection
from scripts.emulator.records import Metric, MetricSeries
from tests.azure.conftest import REPOSITORY, write_record
from tests.azure.relay_host import relay_host
from tests.deadline import deadline, wait_until

BACKENDS = ["v1", "mlflow"]
POINTS = [("loss", step, step / 7) for step in range(100)]
# Of each backend: the requests that store points and that read them back, an entry that cannot be stored, and what
# becomes of the files of `media` where the first name is taken.
BATCH = {"v1": "/batch", "mlflow": "/log-batch"}
HISTORY = {"v1": "/full", "mlflow": "/get-history"}
REFUSED = {"v1": {"metric": "n" * 300, "step": 0}, "mlflow": {"metric": "far", "step": 2**70}}
RENAMED = {"v1": {"images/i-1.png", "texts/note.txt"}, "mlflow": {"tables/t-1.json", "images/i.png", "texts/note.txt"}}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def host(backend):
    """Start relays of one process that has imported the SDK: `host(record, environment)`."""
    with relay_host(backend) as start:
        yield start


@pytest.fixture
def environment(azure, backend):
    """Return the environment of a run's job, made for the backend."""
    return partial(azure.job_environment, mlflow=backend == "mlflow")


@pytest.fixture
def address(azure, environment):
    place, uri = azure.workspace, environment("run-1").get("MLFLOW_TRACKING_URI", "")
    names = place.name, place.resource_group, place.subscription_id
    return RunAddress("run-1", "cifar10", *names, tracking_uri=uri)


@pytest.fixture
def record(address, backend, tmp_path):
    return write_record(tmp_path / "record-metrics.jsonl", 100, address, backend)


def points(azure, run_id="run-1"):
    return sorted((m.name, m.step, m.value) for m in azure.metrics(run_id))


@pytest.mark.parametrize(
    ("kind", "requests"),
    [("429", 2), ("500", 2), ("drop", 2), ("store-and-drop", 2), ("expired", 1), ("400", 2)],
)
def test_after_a_failure_each_point_is_there_once(azure, host, backend, environment, record, kind, requests):
    fault = azure.misbehave(kind, on=BATCH[backend], requests=requests)
    host(record, environment("run-1"), STEP_SECONDS=deadline(30), MAX_ENTRIES=60)
    wait_until(lambda: not pending(record))
    assert points(azure) == POINTS
    assert fault.hits == requests, "the SDK sent nothing again by itself"


def test_a_busy_service_is_left_alone_for_as_long_as_it_asks(azure, host, backend, environment, record):
    fault = azure.misbehave("429", on=BATCH[backend], requests=1, retry_after="3")
    host(record, environment("run-1"))
    wait_until(lambda: not pending(record), 30)
    assert points(azure) == POINTS
    arrived = [request.arrived for request in azure.requests]
    assert fault.hits == 1 and max(later - earlier for earlier, later in pairwise(arrived)) > 2.5


@pytest.mark.parametrize("kind", ["refuse", "silence", "429"])
def test_a_service_that_never_answers_is_asked_until_it_does(azure, host, environment, record, kind):
    azure.misbehave(kind)
    host(record, environment("run-1"), STEP_SECONDS=1.0)
    wait_until(lambda: Progress.read(record).error, 30)
    assert pending(record) == 100 and not points(azure)
    azure.behave()
    wait_until(lambda: not pending(record), 30)
    assert points(azure) == POINTS


def test_a_point_that_is_refused_for_good_is_counted_and_the_others_arrive(azure, host, backend, environment, record):
    with record.open("a") as file:
        file.write(entry_line(REFUSED[backend] | {"value": 1.0, "time": 0}))
    host(record, environment("run-1"))
    wait_until(lambda: not pending(record))
    assert points(azure) == POINTS
    progress = Progress.read(record)
    assert list(progress.dropped.values()) == [1], progress


def test_a_long_record_at_the_service_is_read_back_page_by_page(azure, host, environment, record, backend):
    """Pages of 5,000 points, each slow, that together take longer than the limit for one answer."""
    series = azure.run("run-1").metrics["loss"] = MetricSeries({"loss": "Double"}, "azureml.v1.scalar")
    stamp = "2026-01-01T00:00:00.0000000Z"
    for step in range(20_000):
        series.values.append(Metric("loss", step, 1.0, 0.0, {"loss": 1.0}, str(step), "azureml.v1.scalar", stamp))
    fault = azure.misbehave("latency", on=HISTORY[backend], delay=deadline(0.1))
    host(record, environment("run-1"), STEP_SECONDS=deadline(0.3))
    wait_until(lambda: not pending(record))
    assert fault.hits == 4 and len(points(azure)) == 20_000


@pytest.fixture
def media(address, backend, tmp_path):
    """A record of one entry of each kind that is no metric."""
    record = tmp_path / "record-media.jsonl"
    outbox, folder = Outbox(record, address, backend), files_folder(record)
    data = {"class_labels": ["a", "b"], "matrix": [[1, 0], [0, 1]]}
    matrix = {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": data}
    for entry in (
        {"table": "t", "columns": ["name", "value"], "rows": [["a", 1.0], ["b", 2.0]]},
        {"image": "samples", "path": "images/i.png"},
        {"confusion_matrix": "confusion", "value": matrix},
        {"file": "texts/note.txt", "path": "texts/note.txt"},
        {"tags": {"best": "x"}},
    ):
        outbox.append(entry_line(entry))
    (folder / "images").mkdir(parents=True)
    (folder / "texts").mkdir()
    Image.new("L", (1, 1)).save(folder / "images/i.png")
    (folder / "texts/note.txt").write_text("x")
    return record


def test_everything_else_arrives_too_and_a_second_time_nothing_of_it(azure, host, backend, environment, media):
    rows = [["a", 1.0], ["b", 2.0]]
    for _ in range(2):
        host(media, environment("run-1"))
        wait_until(lambda: not pending(media), 20)
        sent_file(media).unlink()
        artifacts, metrics = azure.artifacts("run-1"), azure.metrics("run-1")
        if backend == "v1":
            assert [list(m.columns.values()) for m in metrics if m.name == "t"] == rows
            assert set(artifacts) == {"images/i.png", "confusion", "texts/note.txt"}
            assert sorted({m.name for m in metrics}) == ["confusion", "samples", "t"]
        else:
            assert json.loads(artifacts["tables/t.json"]) == {"columns": ["name", "value"], "data": rows}
            assert set(artifacts) == {"images/i.png", "confusion.json", "tables/t.json", "texts/note.txt"}
        assert azure.run("run-1").tags["best"] == "x"


def test_an_artifact_whose_name_is_taken_gets_another_one(azure, host, backend, environment, media):
    azure.misbehave("409", on="batch/metadata", requests=1)
    host(media, environment("run-1"))
    wait_until(lambda: not pending(media), 20)
    assert RENAMED[backend] <= set(azure.artifacts("run-1"))


@pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
def test_an_interactive_run_is_started_and_ended_and_no_remote_s_token_leaves(azure, host, backend, tmp_path, status):
    remote = "https://user:secret-token@example.com/repository.git"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    place = azure.workspace
    address = RunAddress("mine-1", "mine", place.name, place.resource_group, place.subscription_id, interactive=True)
    record = write_record(tmp_path / "a-metrics.jsonl", 3, address, backend)
    with record.open("a") as file:
        file.write(entry_line({"end": status, "reason": "the loss is odd"}))
    host(record, azure.client_environment())
    wait_until(lambda: not pending(record), 20)
    (run,) = azure.runs("mine")
    own_id = run.id if backend == "v1" else run.display_name  # MLflow's service gives each run an id of its own
    assert (own_id, run.status) == ("mine-1", status) and len(points(azure, run.id)) == 3
    assert status != "Failed" or "the loss is odd" in str(run.error or run.tags)
    assert not [request.path for request in azure.requests if b"secret-token" in request.body]


def test_an_unknown_run_is_named(azure, host, address, backend, tmp_path):
    record = write_record(tmp_path / "a-metrics.jsonl", 1, replace(address, run_id="run-9"), backend)
    host(record, azure.client_environment())
    wait_until(lambda: "run run-9 is not in workspace" in (Progress.read(record).error or ""), 20)


def test_a_token_that_the_sdk_renewed_is_shared_and_survives_a_failure(azure, host, backend, environment, record):
    variables = environment("run-1", token_seconds=deadline(6.0))  # short: the SDK renews it at once
    host(record, variables)
    wait_until(lambda: not pending(record), 20)
    expired = environment("run-1", token_seconds=-1.0)
    variables |= {name: expired[name] for name in TOKEN_VARIABLES if name in expired}
    fault = azure.misbehave("500", on=BATCH[backend], requests=1)
    with record.open("a") as file:
        file.write(entry_line({"metric": "late", "value": 1.0, "step": 0, "time": 0}))
    host(record, variables)
    wait_until(lambda: not pending(record), 20)
    assert fault.hits == 1 and ("late", 0, 1.0) in points(azure)


def test_a_backlog_goes_over_few_connections(azure, host, environment, address, backend, tmp_path, monkeypatch):
    """Opening one for each request would take a quarter of the time."""
    if backend != "v1":
        pytest.skip("a request holds 1,000 metrics")
    connect, tunnels = _Connection.do_CONNECT, []
    monkeypatch.setattr(_Connection, "do_CONNECT", lambda self: (tunnels.append(self.path), connect(self)))
    record = write_record(tmp_path / "long-metrics.jsonl", 5000, address, backend)
    host(record, environment("run-1"))
    wait_until(lambda: not pending(record))
    batches = [request for request in azure.requests if request.path.endswith(BATCH[backend])]
    assert len(azure.metrics("run-1")) == 5000 and len(tunnels) < len(batches) / 2 > 50


def test_another_version_of_the_sdk_than_the_tested_one_is_warned_of(tmp_path):
    code = """
from importlib import metadata
original = metadata.version
metadata.version = lambda name: "1.99.0" if name == "azureml-core" else original(name)
from lightning_cifar.azure.backends import load
load("v1")
"""
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "azureml-core 1.99.0 is not the version 1.61 that AzureMLLogger was tested with" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 says nothing of them")
@pytest.mark.parametrize(
    "load",
    ["lightning_cifar.azure.backends import load; load('v1')", "scripts.azure.submitter import load; load('v1')"],
)
def test_an_sdk_without_byte_code_says_nothing_of_its_regular_expressions(tmp_path, load):
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", f"from {load}"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
