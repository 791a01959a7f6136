"""What reaches a real MLflow server, whatever state it is in; MLflow's own client reads it back."""

import json
from collections import Counter
from pathlib import Path

import pytest

from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import (
    REFUSED,
    Outbox,
    Progress,
    files_folder,
    pending,
    read_header,
    sent_file,
)  # fmt: skip
from lightning_cifar.azure.run import RunAddress
from scripts.benchmarks.logger import BATCH, STATES
from tests.azure.conftest import kill
from tests.azure.mlflow_server import mlflow_server as mlflow_server  # fixtures
from tests.azure.mlflow_server import running_server as running_server
from tests.azure.relay_host import relay_host
from tests.deadline import deadline, wait_until

BACKEND = "lightning_cifar.azure.backends.mlflow:Mlflow"
STEPS = 600
KEYS = ("loss", "acc_1-71dfc1")  # what becomes of "acc@1"
POINTS = sorted((key, step, step / 7) for key in KEYS for step in range(STEPS))


@pytest.fixture(scope="module")
def host():
    with relay_host(BACKEND) as start:
        yield start


@pytest.fixture
def send(host, tmp_path):
    """Start a relay for a record, as the training process does at its end."""
    (tmp_path / "shared").mkdir()
    quick = {"HURRIED_PAUSE_SECONDS": 0.05, "STEP_SECONDS": deadline(1.0)}
    return lambda record, **constants: host(record, {"TMPDIR": str(tmp_path / "shared")}, **quick | constants)


def new_record(path, address, *entries):
    outbox = Outbox(path, address, BACKEND)
    for entry in entries:
        outbox.append(entry_line(entry))
    outbox.close()
    return path


def metric(name, step, value=1.0):
    return {"metric": name, "value": value, "step": step, "time": 1_700_000_000.123 + step % 1000}


@pytest.fixture
def record(mlflow_server, tmp_path):
    """A record of two metrics of a run that the server has."""
    entries = (metric(name, step, step / 7) for step in range(STEPS) for name in ("loss", "acc@1"))
    return new_record(tmp_path / "a-metrics.jsonl", mlflow_server.start_run(), *entries)


def run_id(record):
    return read_header(record).address.run_id


@pytest.mark.parametrize("state", STATES)
def test_in_each_state_every_point_has_arrived_or_is_kept_and_is_there_once_in_the_end(
    mlflow_server, send, record, state
):
    mlflow_server.misbehave(**STATES[state])
    send(record)
    if STATES[state]["kind"] != "latency" and "requests" not in STATES[state]:  # it does not come back by itself
        wait_until(lambda: Progress.read(record).error, 30)
        assert pending(record) + len(mlflow_server.points(run_id(record), *KEYS)) == len(POINTS)
        mlflow_server.behave()
    wait_until(lambda: not pending(record), 60)
    assert mlflow_server.points(run_id(record), *KEYS) == POINTS
    assert max(Counter(mlflow_server.stored).values()) == 1, "nothing was sent again that the server had"
    point = mlflow_server.client.get_metric_history(run_id(record), "loss")[1]
    assert point.timestamp == 1_700_000_001_123, "when it was logged, not when it was sent"


def test_ten_thousand_points_arrive_once_though_five_answers_to_them_are_lost(mlflow_server, send, tmp_path):
    address = mlflow_server.start_run()
    record = new_record(
        tmp_path / "a-metrics.jsonl", address, *(metric("loss", step, step / 7) for step in range(10_000))
    )
    mlflow_server.misbehave(**STATES["stored, then dropped"])
    send(record, STEP_SECONDS=deadline(20))
    wait_until(lambda: not pending(record), 120)
    assert mlflow_server.points(address.run_id, "loss") == [("loss", step, step / 7) for step in range(10_000)]
    assert len(mlflow_server.stored) == 10_000, "nothing was sent again that the server had"


def test_a_relay_that_is_killed_in_the_midst_loses_nothing_and_doubles_nothing(
    mlflow_server, record, start_relay, monkeypatch
):
    constants = {"attempt": {"MAX_ENTRIES": 100, "IN_FLIGHT_SECONDS": deadline(0.2)}, "relay": {"MAX_ENTRIES": 100}}
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps(constants))
    monkeypatch.setattr("lightning_cifar.azure.process.RELAY", "tests.azure.quick_relay")
    mlflow_server.misbehave("latency", on=BATCH, delay=0.1)
    for round in range(1, 4):
        relay = start_relay(record)
        wait_until(lambda wanted=round * 150: len(mlflow_server.stored) > wanted, 30)
        kill(relay)
    start_relay(record)
    wait_until(lambda: not pending(record), 30)
    assert mlflow_server.points(run_id(record), *KEYS) == POINTS
    assert max(Counter(mlflow_server.stored).values()) == 1


def test_a_point_that_the_server_refuses_costs_no_other_and_is_named(mlflow_server, send, record):
    mlflow_server.refuses = "poison"
    with record.open("a") as file:
        file.write(entry_line(metric("poison", 1)) + entry_line(metric("after", 1)))
    send(record)
    wait_until(lambda: not pending(record), 60)
    assert mlflow_server.points(run_id(record), *KEYS, "after") == sorted([*POINTS, ("after", 1, 1.0)])
    progress = Progress.read(record)
    assert progress.dropped == {REFUSED: 1} and '"poison"' in progress.examples[REFUSED]


def test_what_is_no_metric_arrives_as_params_tags_and_files_and_a_second_time_nothing_of_it(
    mlflow_server, send, tmp_path
):
    address = mlflow_server.start_run()
    matrix = {"schema_type": "confusion_matrix", "data": {"class_labels": ["a", "b"], "matrix": [[1, 0], [0, 1]]}}
    params = [["optimizer/lr", "0.1"], ["who@home", "x"], *([f"p{i}", str(i)] for i in range(150))]
    entries = (
        {"table": "hyperparameters", "columns": ["name", "value"], "rows": params},
        {"table": "hyperparameters", "columns": ["name", "value"], "rows": [["p0", "changed"], ["p150", "new"]]},
        {"table": "classes", "columns": ["name", "acc"], "rows": [["cat", 0.5], ["dog", 0.25]]},
        {"table": "classes", "columns": ["name", "acc"], "rows": [["dog", 0.25], ["emu", 1.0]]},
        {"image": "samples", "path": "images/i.png"},
        {"confusion_matrix": "confusion", "value": matrix},
        {"file": "texts/note.txt", "path": "texts/note.txt"},
        {"tags": {"best model": "x"}},
    )
    for content in ("first", "first", "other"):  # the last one is the restarted job's
        record = new_record(tmp_path / f"{content}-media.jsonl", address, *entries)
        for name in ("images/i.png", "texts/note.txt"):
            file = files_folder(record) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        send(record)
        wait_until(lambda record=record: not pending(record), 30)
        record.unlink()
        sent_file(record).unlink()
    client = mlflow_server.client
    data = client.get_run(address.run_id).data
    assert len(data.params) == 153 and data.params["optimizer/lr"] == "0.1" and data.params["p150"] == "new"
    assert data.params["p0"] == "0" and data.tags["p0"] == "changed" and data.tags["best model"] == "x"

    folders = ("", "images", "tables", "texts")
    found = {file.path for folder in folders for file in client.list_artifacts(address.run_id, folder)}
    assert {name for name in found if "." in name} == {
        "confusion.json",
        "images/i.png",
        "images/i-1.png",
        "tables/classes.json",
        "tables/classes-1.json",
        "texts/note.txt",
        "texts/note-1.txt",
    }
    added = json.loads(Path(client.download_artifacts(address.run_id, "tables/classes-1.json", tmp_path)).read_text())
    assert added == {"columns": ["name", "acc"], "data": [["emu", 1.0]]}, "rows that the table had are not added again"


# How the start of a run goes wrong: its answer is lost, or it happens only after the request was given up.
LOST = {"kind": "store-and-drop", "on": "runs/create", "requests": 1}
LATE = {"kind": "latency", "on": "runs/create", "requests": 1, "delay": deadline(0.3)}


@pytest.mark.parametrize(
    ("status", "shown", "fault"),
    [("Completed", "FINISHED", LOST), ("Failed", "FAILED", LATE), ("Canceled", "KILLED", LOST)],
    ids=["Completed", "Failed", "Canceled"],
)
def test_an_interactive_run_is_one_though_the_answer_to_its_start_was_lost_and_ends_once(
    mlflow_server, send, tmp_path, status, shown, fault
):
    address = RunAddress(f"mine-{status}", "mine", "", "", "", interactive=True, tracking_uri=mlflow_server.url)
    mlflow_server.misbehave(**fault)
    metrics = new_record(tmp_path / "a-metrics.jsonl", address, metric("loss", 0), {"end": status, "reason": "odd"})
    media = new_record(tmp_path / "a-media.jsonl", address, {"tags": {"a": "b"}})
    seconds = {"TIMEOUT_SECONDS": deadline(0.2), "LATE_SECONDS": deadline(0.4)}
    constants = {f"backends.mlflow_service.{name}": value for name, value in seconds.items()}
    send(metrics, **constants)
    send(media, **constants)
    wait_until(lambda: not (pending(metrics) or pending(media)), 30)
    if fault is LATE:
        wait_until(lambda: [request.status for request in mlflow_server.requests if request.fault == "latency"][-1])
    client = mlflow_server.client
    experiment = client.get_experiment_by_name("mine").experiment_id
    (run,) = [run for run in client.search_runs([experiment]) if run.info.run_name == address.run_id]
    assert (run.info.status, run.data.metrics, run.data.tags["a"]) == (shown, {"loss": 1.0}, "b")
    with metrics.open("a") as file:
        file.write(entry_line({"end": "Failed", "reason": "later"}))
    send(metrics)
    wait_until(lambda: not pending(metrics), 30)
    assert client.get_run(run.info.run_id).info.status == shown, "a status that is final stays"
