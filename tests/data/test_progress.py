"""How long steps report: a bar on a terminal, lines in a log."""

import io

import pytest
from rich.console import Console

from lightning_cifar.data import progress


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed; to a log, since this is no terminal."""
    printed = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=printed, width=100))
    return printed


def test_a_log_says_now_and_then_how_far_it_is(printed: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", -1)
    with progress.progress("Decoding", 200, completed=50) as advance:
        advance(50)
        advance(100)
    assert printed.getvalue().splitlines() == ["Decoding: 50%", "Decoding: 100%"]


def test_a_log_is_not_flooded(printed: io.StringIO) -> None:
    with progress.progress("Decoding", 200) as advance:
        for _ in range(200):
            advance(1)
    assert printed.getvalue() == ""


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=terminal, width=100, force_terminal=True))
    with progress.progress("Decoding", 200) as advance:
        advance(200)
    assert "━" in terminal.getvalue() and "100%" in terminal.getvalue()
