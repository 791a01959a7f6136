"""Watching a job: its log, its end, and what Ctrl-C means."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.scripts.conftest import Outcome, call, call_all, make_project


@pytest.fixture(scope="module")
def outcomes(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """A job that ends well and is downloaded, one that fails, one whose second process fails."""
    project = make_project(tmp_path_factory.mktemp("follow") / "project")
    service.write_config(project)
    calls = [
        ("submit", ["--download", "--", "--ok"]),
        ("submit", ["--wait", "--", "--fail"]),
        ("runs", ["watch"]),
        ("runs", ["download", "--to", "here"]),
        ("submit", ["--wait", "--nodes", "2", "--", "--fail-on-1"]),
    ]
    results = call_all(calls, project, service.client_environment())
    (folder,) = (project / "downloads").iterdir()
    assert (folder / "outputs" / "rank0.json").exists()
    assert (project / "here" / "outputs" / "rank0.json").exists()
    return results


def test_the_log_is_shown_and_a_job_that_ends_well_gives_0(outcomes: list[Outcome]) -> None:
    assert outcomes[0].code == 0, outcomes[0].err
    assert '"--ok"]\n' in outcomes[0].out
    assert outcomes[0].out.count("arguments: ") == 1
    assert "is completed" in outcomes[0].out


@pytest.mark.parametrize("which", [1, 2], ids=["submit --wait", "runs watch"])
def test_a_job_that_fails_gives_1_its_last_lines_and_its_address(outcomes: list[Outcome], which: int) -> None:
    outcome = outcomes[which]

    assert outcome.code == 1
    assert "  | the loss is a carrot" in outcome.out
    assert "exited with status code 3" in outcome.last
    assert "https://ml.azure.com/" in outcome.last
    assert len(outcome.err.splitlines()) == 1


def test_of_several_processes_the_one_that_failed_is_heard(outcomes: list[Outcome]) -> None:
    outcome = outcomes[4]

    assert outcome.code == 1
    assert "last lines of user_logs/std_log_process_1.txt:\n" in outcome.out
    assert "  | process 1 has eaten the carrot" in outcome.out


class Terminal:
    """`submit --wait` at a terminal, with a job that takes a minute."""

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self.controller, terminal = pty.openpty()
        command = [sys.executable, "-m", "scripts.submit", "--wait", "--", "--sleep"]
        self.process = subprocess.Popen(
            command, cwd=project, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True
        )
        os.close(terminal)
        self.text = ""

    def until(self, text: str) -> None:
        """Read until a text appears."""
        deadline = time.monotonic() + 40
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            try:
                self.text += os.read(self.controller, 10_000).decode()
            except OSError:
                assert text in self.text, self.text
        self.text = self.text.partition(text)[2]

    def answer(self, text: str) -> int:
        """Press Ctrl-C, answer the question, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.until("[w]atch on?")
        os.write(self.controller, f"{text}\n".encode())
        self.until("cancel" if text == "c" else "goes on")
        code = self.process.wait(40)
        os.close(self.controller)
        return code


@pytest.mark.parametrize(("answer", "status"), [("c", "Canceled"), ("s", "Running")])
def test_ctrl_c_asks_whether_to_cancel_the_job_or_to_stop_watching(
    project: Path, service: Emulator, answer: str, status: str
) -> None:
    service.write_config(project)
    environment = service.client_environment()
    terminal = Terminal(project, environment)
    terminal.until("arguments:")

    assert terminal.answer(answer) == 130

    run = service.runs()[-1]
    if answer == "c":
        assert service.wait(run.id, 20) == status
        return
    assert run.status == status
    canceled = call_all([("runs", ["cancel"])], project, environment)
    assert (canceled[0].code, service.wait(run.id, 20)) == (0, "Canceled")


def test_cancelling_what_has_ended_is_an_error(project: Path, service: Emulator) -> None:
    service.write_config(project)
    calls = [("submit", ["--wait"]), ("runs", ["cancel"])]

    outcomes = call_all(calls, project, service.client_environment())

    assert outcomes[1].code == 1
    assert "has ended already: Completed" in outcomes[1].last


def test_a_command_without_a_run_says_that_none_was_submitted(project: Path, service: Emulator) -> None:
    service.write_config(project)

    outcome = call("runs", ["watch"], project, service.client_environment())

    assert outcome.code == 1
    assert "no run has been submitted from here yet" in outcome.last
