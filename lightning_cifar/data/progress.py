"""Show what a long step waits for, and on a terminal how far it has come, on standard error."""

from collections.abc import Iterable
from typing import TypeVar

from rich import progress
from rich.console import Console

console = Console(stderr=True)

Item = TypeVar("Item")


def say(line: str) -> None:
    """Print one line, above a progress bar where there is one, however long it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def track(items: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """Return the items, and on a terminal show by a bar how many of `total` were taken."""
    return progress.track(items, description, total, console=console, disable=not console.is_terminal)


def bar(*columns: progress.ProgressColumn) -> progress.Progress:
    """Return a bar in rich's columns, which only a terminal shows."""
    return progress.Progress(*columns, console=console, disable=not console.is_terminal)
