"""Where sources tell what they are doing: standard error, so that a command's results stay by themselves."""

from rich.console import Console

console = Console(stderr=True)


def say(line: str) -> None:
    """Print one line, above a progress bar where there is one, however long it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
