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
    description: str, total: int, completed: int = 0, columns: tuple[ProgressColumn, ...] = ()
) -> Iterator[Callable[[int], None]]:
    """Show the progress of a step, by default in rich's usual columns, while the block runs.

    Yields:
        The function to call with the amount that was done since the last call, in the unit of `total`.
    """
    last_line = time.monotonic()
    with Progress(*columns or Progress.get_default_columns(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=completed)

        def advance(amount: int) -> None:
            nonlocal last_line
            bar.advance(task, amount)
            if not console.is_terminal and time.monotonic() - last_line > LOG_SECONDS:
                last_line = time.monotonic()
                say(f"{description}: {bar.tasks[0].percentage:.0f}%")

        yield advance
