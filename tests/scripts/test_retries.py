"""RETRIES=: what the platform fails is submitted again, from its checkpoint; what fails by itself never is."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts import submit
from scripts.azure import follow
from scripts.azure.retries import START, failed_by_platform
from scripts.azure.submitter import as_details
from tests.scripts.fakes import FakeRun, details

LOST = details("Failed", reason="AzureMLCompute job failed: the node was lost")._replace(code="ServiceError")
OWN = details("Failed", reason="User process exited with status code 1. Please check …")._replace(code="UserError")
LAST, BEST = "outputs/cifar10/version_1/checkpoints/last.ckpt", "outputs/cifar10/version_0/checkpoints/best.ckpt"


@pytest.fixture
def submitted(here: Mock, project: Path, monkeypatch: pytest.MonkeyPatch):
    """Submit where runs end one after the other with these states; return jobs and snapshots' files of all tries."""
    monkeypatch.setattr(follow, "POLL", [0.0, 0.0])
    tries: list[tuple[tuple[str, ...], dict[str, str], dict[str, bytes]]] = []

    def submitted(*states: object, artifacts: dict[str, bytes] | None = None, retries: int = 2):
        ends = iter(states)

        def send(job, snapshot) -> FakeRun:
            folder = project.parent / f"sent-{len(tries)}"
            snapshot.copy_to(folder)
            added = {path: (folder / path).read_bytes() for path in (LAST, BEST, START) if (folder / path).exists()}
            tries.append((job.flags, job.tags, added))
            return FakeRun(id=f"run-{len(tries)}", states=[next(ends)], artifacts=artifacts or {})

        azure = here.connect.return_value
        azure.check, azure.submit = (lambda job: job), send
        code = submit.main(["--retries", str(retries), "--", "--trainer.max_epochs", "3"])
        return code, tries

    return submitted


def test_a_lost_run_goes_on_from_its_checkpoint_in_another_one(submitted) -> None:
    older = LAST.replace("version_1", "version_0")
    left = {LAST: b"weights", older: b"old", BEST: b"best", "outputs/note.txt": b"", "logs/x": b""}

    code, tries = submitted(LOST, LOST, details("Completed"), artifacts=left)

    assert code == 0
    own = ("--trainer.max_epochs", "3")
    resumed = ("--resume.init_args.start", START, *own)
    assert [flags for flags, _, _ in tries] == [own, resumed, resumed]
    assert [tags for _, tags, _ in tries] == [{}, {"retry_of": "run-1"}, {"retry_of": "run-2"}]
    assert [added for _, _, added in tries] == [
        {},
        {START: b"weights", BEST: b"best"},
        {START: b"weights", BEST: b"best"},
    ]


def test_without_a_checkpoint_it_begins_anew(submitted) -> None:
    code, tries = submitted(LOST, details("Completed"))
    assert code == 0 and [flags for flags, _, _ in tries] == [("--trainer.max_epochs", "3")] * 2


@pytest.mark.parametrize(("states", "runs"), [([OWN], 1), ([LOST, OWN], 2), ([LOST] * 3, 3)])
def test_its_own_failure_and_the_last_one_are_errors(submitted, capsys, states: list, runs: int) -> None:
    with pytest.raises(UserError, match=f"run run-{runs} failed"):
        submitted(*states)
    assert capsys.readouterr().out.count("submitting it again") == runs - 1


def test_a_canceled_run_is_not_submitted_again(submitted) -> None:
    code, tries = submitted(details("Canceled"))
    assert code == 130 and len(tries) == 1


@pytest.mark.parametrize(
    ("code", "reason", "retried"),
    [
        ("ServiceError", "the node was lost", True),
        ("SystemError", "no answer from the node", True),
        ("UserError", "Execution failed. User process exited with status code 143. Please check log file", True),
        ("ServiceError", "User process exited with exit code 1", False),
        ("UserError", "Execution failed. User process exited with status code 137.", False),
        ("UserError", "the image cannot be built", False),
        ("", "", False),
    ],
)
def test_a_failure_is_the_platforms_by_its_word_or_where_the_process_was_sent_sigterm(code, reason, retried) -> None:
    assert failed_by_platform(details("Failed", reason=reason)._replace(code=code)) == retried


def test_whose_failure_it_is_comes_from_the_history_that_both_sdks_ask() -> None:
    answer = {"status": "Failed", "error": {"error": {"code": "ServiceError", "message": "the node was lost"}}}
    assert failed_by_platform(as_details(answer))
