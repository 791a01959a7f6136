"""The relay: whatever fails, hangs or is killed, each point is at the service once, and a person learns what is not."""

import json
import os
import signal
import time
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import jwt
import pytest

from lightning_cifar.azure import relay as relay_module
from lightning_cifar.azure.attempt import Attempt, Flags
from lightning_cifar.azure.lines import entry_line
from lightning_cifar.azure.outbox import REFUSED, Progress, pending, read_header
from lightning_cifar.azure.process import HOPELESS
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import RecordLock, share_token, shared_file, take_newest_token
from tests.azure.conftest import kill, write_record
from tests.azure.fake_backend import FakeBackend
from tests.deadline import deadline, wait_until

ADDRESS = RunAddress("run-1", "cifar10", "w", "g", "s")
POINTS = [("loss", step, step / 7) for step in range(100)]


def token(expiry):
    return jwt.encode({"exp": expiry}, "the key of a service for tests only")


def sent(record):
    return not pending(record)


def log(record, name, step=0, **entry):
    with record.open("a") as file:
        file.write(entry_line({"metric": name, "value": 1.0, "step": step, "time": 0} | entry))


def test_a_record_is_sent_and_the_relay_stays_for_what_comes_whatever_hits_the_training(fake, record, start_relay):
    relay = start_relay(record)
    wait_until(lambda: sent(record))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        relay.send_signal(number)
    log(record, "acc", 7)
    wait_until(lambda: ("acc", 7, 1.0) in fake.points())
    relay.stdin.close()
    assert relay.wait(deadline(20)) == 0
    assert fake.points() == [("acc", 7, 1.0), *POINTS]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_an_attempt_that_waits_for_entries_hears_who_waits_for_it_and_of_the_end(
    fake, record, start_relay, monkeypatch, start
):
    """By itself it would wait for ten minutes."""
    constants = {"attempt": {"GATHER_SECONDS": 600.0}, "relay": {"START": start}}
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps(constants))
    relay = start_relay(record)
    wait_until(lambda: sent(record))
    log(record, "acc", 7)
    relay.send_signal(signal.SIGCONT)
    wait_until(lambda: ("acc", 7, 1.0) in fake.points())
    log(record, "acc", 8)
    relay.stdin.close()
    assert relay.wait(deadline(20)) == 0
    assert fake.points() == [("acc", 7, 1.0), ("acc", 8, 1.0), *POINTS]


def test_what_is_refused_for_good_is_dropped_alone(fake, record, start_relay):
    log(record, "poison")
    log(record, "late")
    start_relay(record)
    wait_until(lambda: sent(record))
    assert fake.points() == [("late", 0, 1.0), *POINTS]
    progress = Progress.read(record)
    assert progress.dropped == {REFUSED: 1} and '"metric": "poison"' in progress.examples[REFUSED]
    assert fake.calls("log") < 30, "it was looked for in ever smaller batches, not one by one"


def test_two_relays_of_one_record_send_it_one_after_the_other(fake, record, start_relay):
    fake.script("log", "hang")
    first = start_relay(record)
    wait_until(lambda: fake.calls("log"))
    second = start_relay(record)  # a replay beside the training
    assert pending(record) == 100
    kill(first)
    wait_until(lambda: sent(record))
    assert second.poll() is None
    assert fake.points() == POINTS


def test_a_service_that_asks_for_more_time_than_there_is_does_not_hold_up_the_end(fake, record, monkeypatch):
    relay = relay_module.Relay(record, os.getpid(), 600.0)
    relay._flags.closing, relay._flags.retry_after = True, 3600.0
    relay._failures, relay._failed_at = 5000, time.monotonic()  # hours of an outage
    started = []
    monkeypatch.setattr(relay, "_start", lambda: started.append(1))
    assert relay._supervise() is None and not started, "it is left alone"
    relay._failed_at -= relay_module.MAX_RETRY_AFTER_SECONDS
    assert relay._supervise() is None and started, "and asked again all the same"
    relay._attempt, relay._until = None, time.monotonic()
    assert relay._supervise() == relay_module.TIME_IS_UP


@pytest.mark.parametrize("shares", [["outputs"], ["outputs", "shared"]], ids=["outputs", "temporary folder, too"])
def test_on_a_network_share_without_locks_relays_of_one_record_send_each_point_once(
    fake, record, start_relay, monkeypatch, shares
):
    """Renaming takes its time there, too."""
    folders = [record.parent / share for share in shares]
    folders[0].mkdir()
    monkeypatch.setenv("RELAY_HOOK", "network_share")
    monkeypatch.setenv("NETWORK_SHARE", os.pathsep.join(map(str, folders)))
    monkeypatch.setenv("RELAY_CONSTANTS", json.dumps({"attempt": {"MAX_ENTRIES": 7}, "relay": {"MAX_ENTRIES": 7}}))
    record = record.rename(folders[0] / record.name)
    fake.script("log", "lost", "500", "lost")
    relays = [start_relay(record) for _ in range(3)]
    for relay in relays:  # before any is waited for: the one that has the record keeps it until its training ends
        relay.stdin.close()
    assert [relay.wait(deadline(60)) for relay in relays] == [0] * 3
    assert fake.points() == POINTS


@pytest.mark.parametrize("another_one_holds_the_record", [True, False])
def test_once_the_training_process_is_gone_the_relay_has_a_time_limit(
    fake, record, start_relay, another_one_holds_the_record
):
    fake.script("open", "500*")
    lock = RecordLock(ADDRESS, record)
    assert not another_one_holds_the_record or lock.take()
    relay = start_relay(record, seconds=0.5)
    relay.stdin.close()
    assert relay.wait(deadline(20)) == relay_module.TIME_IS_UP
    assert pending(record) == 100 and bool(fake.calls("open")) != another_one_holds_the_record


def test_an_attempt_that_hangs_ends_with_its_relay(fake, record, start_relay):
    fake.script("open", "hang*")
    relay = start_relay(record)
    wait_until(lambda: fake.calls("open"))
    (attempt,) = Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split()
    relay.kill()  # the relay alone
    stat = Path(f"/proc/{attempt}/stat")
    wait_until(lambda: not stat.exists() or ") Z " in stat.read_text())


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("v9", "'v9' is no backend"),
        ("no_such_sdk:A", "cannot import it (No module named 'no_such_sdk'): pip install no_such_sdk, or the"),
    ],
)
def test_what_only_a_person_can_mend_ends_the_relay_and_says_so(fake, tmp_path, start_relay, backend, says):
    record = write_record(tmp_path / "a-metrics.jsonl", backend=backend)
    assert start_relay(record).wait(deadline(20)) == HOPELESS
    assert says in Progress.read(record).error


def test_an_interactive_run_is_ended_once(fake, tmp_path, start_relay):
    record = write_record(tmp_path / "a-metrics.jsonl", 3, replace(ADDRESS, interactive=True))
    fake.script("end", "500")
    for _ in range(2):
        relay = start_relay(record)
        relay.stdin.close()  # as when the training process is gone
        assert relay.wait(deadline(20)) == 0
    assert [end[:2] for end in fake.read("ends")] == [["run-1", "Failed"]]


def test_what_the_service_has_confirmed_is_on_this_disk_too(fake, record, start_relay, monkeypatch):
    """The record is synced before anything of it is handed over, at once though the service never answers."""
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append((Path(f"/proc/self/fd/{handle}").readlink(), len(fake.points())))
    )
    news = Pipe(duplex=False)[0]
    flags = Flags(closing=True, entries=10)
    attempt = Attempt(record, read_header(record), FakeBackend, flags, news, os.getppid())
    attempt._send_all()
    assert (record, 0) in synced and fake.points() == POINTS


def test_a_folder_that_others_can_read_is_not_trusted_and_each_relay_goes_on_alone(fake, record):
    folder = shared_file(ADDRESS, "x").parent
    folder.chmod(0o755)
    with pytest.raises(PermissionError):
        shared_file(ADDRESS, "x")
    assert RecordLock(ADDRESS, record).take() and RecordLock(ADDRESS, record).take()
    share_token(ADDRESS, "secret")
    assert not list(folder.iterdir())


def test_the_token_that_is_valid_for_longer_is_taken(fake, monkeypatch):
    soon, late = token(time.time() + 60), token(time.time() + 3600)
    monkeypatch.setenv("AZUREML_RUN_TOKEN_EXPIRY", "1")
    for mine, shared, expected in ((soon, late, late), (late, soon, late), ("no token", soon, soon), (soon, "?", soon)):
        monkeypatch.setenv("AZUREML_RUN_TOKEN", mine)
        share_token(ADDRESS, shared)
        take_newest_token(ADDRESS)
        assert os.environ["AZUREML_RUN_TOKEN"] == expected
    assert shared_file(ADDRESS, "token").stat().st_mode & 0o077 == 0
