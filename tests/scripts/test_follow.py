"""Following a run, above any SDK: its log, its end, and what Ctrl-C means."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts.azure import follow
from scripts.emulator import Emulator
from tests.deadline import deadline
from tests.scripts.fakes import LOG, FakeRun, details

FIRST, SECOND = "user_logs/std_log_process_0.txt", "user_logs/std_log_process_1.txt"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(follow, "POLL", [0.0, 0.0])


def test_new_parts_of_the_log_are_printed_once_even_when_cut_within_a_character(capsys):
    class Growing(FakeRun):
        def details(self):
            self.logs[LOG] += next(parts, b"")
            return super().details()

    parts = iter([b"", b"eins\nzw", "ö".encode()[:1], "ö".encode()[1:], b"lf\n"])
    states = [details("Queued"), *[details("Running", LOG)] * 4, details("Completed", LOG)]

    assert follow.until_done(Growing(states=states, logs={LOG: b""})) == 0

    out = capsys.readouterr().out
    assert "\neins\nzwölf\n" in out
    assert out.count("eins") == 1
    assert [line.split("] ")[1] for line in out.splitlines() if line.startswith("[")] == [
        "Queued; waiting for the first line of its log …",
        "Running; waiting for the first line of its log …",
        "Completed",
    ]
    assert out.endswith("run run-1 is completed\n")


def test_the_log_of_a_run_that_starts_again_on_another_node_is_printed_from_its_beginning(capsys):
    class Restarting(FakeRun):
        def details(self):
            state = super().details()
            if state.status == "Running":
                self.logs[LOG] = next(attempts)
            return state

    attempts = iter([b"first\n", b"first\nand more\n", b"anew\n"])
    statuses = ["Queued", "Running", "Running", "Queued", "Running", "Completed"]

    assert follow.until_done(Restarting(states=[details(status, LOG) for status in statuses], logs={LOG: b""})) == 0

    assert [line for line in capsys.readouterr().out.splitlines() if "[" not in line] == [
        *("first", "and more", "anew"),
        "run run-1 is completed",
    ]


def test_waiting_for_a_silent_run_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(follow, "REMINDER", 0.0)

    follow.until_done(FakeRun(states=[details("Preparing")] * 3 + [details("Completed")]))

    assert capsys.readouterr().out.count("Preparing; waiting for the first line of its log …") == 3


def test_a_run_that_failed_is_an_error_with_its_last_lines_and_address(capsys):
    log = "".join(f"line {number}\n\n" for number in range(30)).encode()
    failed = details("Failed", LOG, reason="it exited with status code 3. Error: {a lot of JSON}\nmore")

    with pytest.raises(UserError) as error:
        follow.until_done(FakeRun(states=[failed], logs={LOG: log}))

    assert str(error.value) == (
        "run run-1 failed: it exited with status code 3. Everything about it: https://ml.azure.com/runs/run-1"
    )
    assert capsys.readouterr().out.endswith("\n".join(f"  | line {number}" for number in range(10, 30)) + "\n")


def test_a_canceled_run_gives_130_and_one_without_log_says_so(capsys):
    assert follow.until_done(FakeRun(states=[details("Canceled")])) == 130
    with pytest.raises(UserError, match="no reason given"):
        follow.until_done(FakeRun(states=[details("Failed")]))
    assert "it left no log" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "canceled", "code", "says"),
    [
        ("c", True, 130, "run run-1 was canceled"),
        ("w", False, 0, "run run-1 is completed"),
        ("s", False, 130, "run run-1 goes on; `make cancel` ends it, https://ml.azure.com/runs/run-1 shows it"),
        (KeyboardInterrupt, False, 130, "run run-1 goes on"),
        (None, False, 130, "run run-1 goes on"),  # no terminal
    ],
)
def test_ctrl_c_asks_whether_to_cancel_to_stop_or_to_watch_on(monkeypatch, capsys, answer, canceled, code, says):
    monkeypatch.setattr("builtins.input", Mock(side_effect=[answer]))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: answer is not None, raising=False)
    run = FakeRun(
        states=[details("Running", LOG), KeyboardInterrupt(), details("Running", LOG), details("Completed", LOG)]
    )

    assert follow.until_done(run) == code

    assert run.canceled == canceled
    out = capsys.readouterr().out
    assert says in out
    assert out.count("a line\n") == 1


def test_ctrl_c_that_a_request_suppresses_is_handled_after_the_request(monkeypatch, capsys) -> None:
    run = FakeRun()  # it completes if Ctrl-C is lost
    ask = run.details

    def swallow() -> object:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return ask()

    monkeypatch.setattr(run, "details", swallow)
    assert follow.until_done(run) == 130
    assert "goes on" in capsys.readouterr().out


def test_a_real_ctrl_c_at_a_terminal_cancels_a_real_job(project: Path, service: Emulator) -> None:
    service.write_config(project)
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "scripts.submit", "--wait", "--", "--sleep"]
    process = subprocess.Popen(
        command, cwd=project, env=service.client_environment(), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)

    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            ready, _, _ = select.select([controller], [], [], deadline(30))
            assert ready, f"no {text!r} after {seen!r}"
            seen += os.read(controller, 10_000)
        seen = seen.partition(text)[2]

    until(b"arguments:")
    process.send_signal(signal.SIGINT)
    until(b"[w]atch on?")
    os.write(controller, b"c\n")
    until(b"cancelling run")

    assert service.job(service.runs()[-1].id).wait(deadline(20)) == "Canceled"
    until(b"was canceled")
    assert process.wait(deadline(20)) == 130
    os.close(controller)
