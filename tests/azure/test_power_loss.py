"""Power loss at any moment of a run: what was synced arrives, each entry once, and nothing is made up."""

import os
from pathlib import Path

import pytest

from lightning_cifar.azure import attempt, outbox
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import Outbox, sent_file
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write
from tests.azure.memory_service import MemoryService
from tests.azure.memory_service import service as service  # a fixture
from tests.azure.recorded_disk import Event, Recorder, disks
from tests.deadline import wait_until

ADDRESS = RunAddress("run-1", "cifar10", "w", "g", "s")
STEPS = 72


class Run:
    """A run that logs, syncs and sends, and what it has done at any moment: logged, synced, received."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
        self.logged = self.safe = 0
        self.service = MemoryService()
        self.record = folder / "run/outputs/azureml-metrics/a-metrics.jsonl"
        (folder / "run").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "_sync_often", lambda self: None)
            patch.setattr(attempt, "MAX_ENTRIES", 5)
            recorder = Recorder(folder / "run", patch, lambda: (self.logged, self.safe, len(self.service.arrived)))
            log = Outbox(self.record, ADDRESS, "v1", durable)
            for step in range(STEPS):
                self.logged = step + 1
                log.append(entry_line({"metric": "loss", "value": step / 7, "step": step, "time": 0}))
                if step % 6 == 5:
                    log.sync()  # as four times a second
                if durable or step % 6 == 5:
                    self.safe = step + 1
                if step % 16 == 15:
                    self.service.send(self.record)
            self.events: list[Event] = [*recorder.events, Event("end", "", seen=(STEPS, STEPS, STEPS))]


@pytest.fixture(scope="module", params=[False, True], ids=["four times a second", "durable"])
def run(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(attempt, "IN_FLIGHT_SECONDS", 0.0)
        return Run(tmp_path_factory.mktemp("run"), monkeypatch, request.param)


def test_of_every_disk_that_power_loss_may_leave_behind_what_was_synced_arrives_once(
    run, tmp_path, service, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda number: None)
    record, seen, tried = tmp_path / "a-metrics.jsonl", set(), 0
    points = [("loss", step, step / 7) for step in range(STEPS)]
    for number in range(len(run.events)):
        logged, safe, _ = run.events[max(0, number - 1)].seen
        arrived = {event.seen[2] for event in run.events[max(0, number - 1) : number + 1]}
        for disk in disks(run.events[:number], run.record, sent_file(run.record)):
            for received in arrived:
                state = (*disk, received, safe)
                if state in seen:
                    continue
                seen.add(state)
                for path, content in zip((record, sent_file(record)), disk, strict=True):
                    path.unlink(missing_ok=True)
                    if content is not None:
                        path.write_bytes(content)
                service.arrived = points[:received]
                try:
                    service.send(record)
                except UserError:  # there is no record yet, or its first line was not synced
                    assert safe == 0
                steps = [step for _, step, _ in service.arrived]
                assert set(service.arrived) <= set(points[:logged])
                assert len(steps) == len(set(steps)) and set(steps) >= set(range(safe)), (number, disk)
                tried += 1
    assert tried > 200


def test_what_is_logged_is_synced_soon_though_nothing_is_sent(tmp_path, monkeypatch):
    assert outbox.SYNC_SECONDS <= 0.5
    monkeypatch.setattr(outbox, "SYNC_SECONDS", 0.01)
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(os.fstat(number)), fsync(number)))
    log = Outbox(tmp_path / "a.jsonl", ADDRESS, "v1")
    for step in range(2):
        log.append(entry_line({"metric": "loss", "step": step}))
        wait_until(lambda: log.size in [status.st_size for status in synced])
    assert tmp_path.stat().st_ino in [status.st_ino for status in synced], "its name, too"
    log.close()


def test_a_file_that_was_replaced_survives_power_loss_with_all_folders_above_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        recorder = Recorder(tmp_path, patch, lambda: None)
        path = tmp_path / "new/folder/a.ckpt"
        for content in (b"old", b"new"):
            with atomic_write(path) as file:
                file.write(content)
    assert list(disks(recorder.events, path)) == [(b"new",)]
    half = next(number for number, event in enumerate(recorder.events) if event.kind == "rename") + 1
    assert {*disks(recorder.events[:half], path)} == {(None,), (b"old",)}
    assert {
        content for number in range(half + 1, len(recorder.events)) for content in disks(recorder.events[:number], path)
    } == {(b"old",), (b"new",)}
