"""A record that the disk has damaged: a byte costs the entry that it is in; no other is lost, sent twice or made up."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_cifar.azure import lines
from lightning_cifar.azure.lines import entry_line, is_header
from lightning_cifar.azure.outbox import (
    DAMAGED,
    Outbox,
    Progress,
    pending,
    read_entries,
    read_header,
    sent_file,
)  # fmt: skip
from lightning_cifar.azure.run import RunAddress
from tests.azure.memory_service import service as service  # a fixture

ADDRESS = RunAddress("run-1", "cifar10", "w", "g", "s")
NUMBER = 200
POINTS = [("loss", step, step / 7) for step in range(NUMBER)]
SECTOR = 512
DAMAGE = {
    "flip": lambda data, at: data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :],
    "newline": lambda data, at: data[:at] + (b"x" if data[at] == 10 else b"\n") + data[at + 1 :],
    "delete": lambda data, at: data[:at] + data[at + 1 :],
    "double": lambda data, at: data[:at] + data[at : at + 1] + data[at:],
    "insert": lambda data, at: data[:at] + b"\n{a"[at % 3 : at % 3 + 1] + data[at:],
    "zero block": lambda data, at: data[:at] + bytes(len(data[at : at + SECTOR])) + data[at + SECTOR :],
}


def write(path, number=NUMBER):
    """Write a record; return its bytes, and the entry that each byte belongs to: None, to a header."""
    outbox = Outbox(path, ADDRESS, "v1")
    for step in range(number):
        outbox.append(entry_line({"metric": "loss", "value": step / 7, "step": step, "time": 0}))
    outbox.close()
    owners = []
    for entry, end in read_entries(path):
        owners += [entry.get("step")] * (end - len(owners))
    return path.read_bytes(), owners


def steps(path, offset=0):
    """Return the steps that are read from a record, and the number of damaged lines."""
    found = [entry for entry, _ in read_entries(path, offset)]
    assert all(entry["value"] == entry["step"] / 7 for entry in found if "step" in entry), "nothing is made up"
    assert all("step" in entry or "damaged" in entry or is_header(entry) for entry in found)
    return [entry["step"] for entry in found if "step" in entry], sum("damaged" in entry for entry in found)


@pytest.fixture
def quick(monkeypatch):
    """Parse each line once, and sync nothing: the same lines are read many thousand times."""
    known, unseal = {}, lines.unseal
    monkeypatch.setattr(lines, "unseal", lambda line: known.get(line) or known.setdefault(line, unseal(line)))
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_at_any_byte_costs_at_most_the_entries_that_it_touches(tmp_path, quick, service, kind):
    path = tmp_path / "a-metrics.jsonl"
    data, owners = write(path)
    width = SECTOR if kind == "zero block" else 1
    for at in range(len(data)):
        path.write_bytes(DAMAGE[kind](data, at))
        touched = set(owners[at : at + width]) - {None}
        left, damaged = steps(path)
        assert left == sorted(set(left)) and touched >= set(range(NUMBER)) - set(left), at
        assert damaged or len(left) == NUMBER or NUMBER - 1 in touched, f"{at}: what is lost is counted"
        assert read_header(path) == (ADDRESS, "v1"), at
        if at % 97 == 0:
            service.arrived.clear()
            sent_file(path).unlink(missing_ok=True)
            service.send(path)
            assert service.arrived == [POINTS[step] for step in left]
            assert Progress.read(path).dropped.get(DAMAGED, 0) == damaged and not pending(path)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "zero block"])
def test_damage_to_what_is_confirmed_costs_nothing_of_what_is_not(tmp_path, quick, kind):
    """A byte more or less moves all that stands behind it, and the confirmed offset is meant for what was there."""
    path = tmp_path / "a-metrics.jsonl"
    data, owners = write(path)
    confirmed = owners.index(NUMBER // 2)
    for at in range(confirmed):
        path.write_bytes(DAMAGE[kind](data, at))
        left, _ = steps(path, confirmed)
        assert left[-NUMBER // 2 :] == list(range(NUMBER // 2, NUMBER)), at
        assert len(left) <= NUMBER // 2 + 1, "at most one more is looked for at the service"


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_confirmations_confirm_nothing_and_the_service_is_asked(tmp_path, quick, service, kind):
    path = tmp_path / "a-metrics.jsonl"
    write(path)
    service.send(path)
    data, sent = sent_file(path).read_bytes(), Progress.read(path)
    for at in range(len(data)):
        sent_file(path).write_bytes(DAMAGE[kind](data, at))
        assert Progress.read(path) in (sent, Progress()), at
    service.send(path)
    assert service.arrived == POINTS and Progress.read(path) == sent


EDITS = st.lists(st.tuples(st.sampled_from(sorted(DAMAGE)), st.floats(0, 1, exclude_max=True)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(edits=EDITS)
def test_of_a_long_record_damaged_in_many_places_the_rest_arrives_once(tmp_path, quick, service, edits):
    path = tmp_path / "a-metrics.jsonl"
    path.unlink(missing_ok=True)
    sent_file(path).unlink(missing_ok=True)
    data, _ = write(path, 2000)
    for kind, place in edits:
        data = DAMAGE[kind](data, int(place * len(data)))
    path.write_bytes(data)
    service.arrived.clear()
    for _ in range(2):
        service.send(path)
        arrived = [step for _, step, _ in service.arrived]
        assert arrived == sorted(set(arrived)) and len(arrived) >= 2000 - 16 * len(edits)
        sent_file(path).unlink()
