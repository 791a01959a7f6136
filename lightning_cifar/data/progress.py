"""Show how far a long step has come, on standard error: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn

console = Console(stderr=True)

LOG_SECONDS = 30.0
"""Seconds between two lines in a log."""


def say(line: str) -> None:
    """Print one line, above a progress bar where there is one, however long it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(
    description: str, total: int, completed: int = 0, columns: tuple[ProgressColumn, ...] = (), announced: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show the progress of a step while the block runs.

    Args:
        description: what is being done.
        total: its size, in whatever unit.
        completed: how much of it was done before.
        columns: rich's columns, by default its usual ones.
        announced: whether a line has been printed already; otherwise a log begins with one, so that no step is silent.

    Yields:
        The function to call with the amount that was done since the last call.
    """
    with Progress(*columns or Progress.get_default_columns(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=completed)
        if not (announced or console.is_terminal):
            say(f"{description} ...")
        last_line = time.monotonic()

        def advance(amount: int) -> None:
            nonlocal completed, last_line
            completed += amount
            bar.advance(task, amount)
            if not console.is_terminal and time.monotonic() - last_line > LOG_SECONDS:
                last_line = time.monotonic()
                say(f"{description}: {completed / total:.0%}")

        yield advance
