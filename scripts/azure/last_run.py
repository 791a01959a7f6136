"""A small file that remembers the run submitted last, for the commands that come after."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write

_NAME = "last_run.json"


@dataclass(frozen=True)
class LastRun:
    """Which run was submitted last, and where it can be watched."""

    run_id: str
    experiment: str
    studio: str


def save(run: LastRun, folder: Path) -> None:
    """Write the file; `folder` is the `.azureml` beside the workspace's config."""
    with atomic_write(folder / _NAME) as file:
        file.write(json.dumps(asdict(run), indent=1).encode())


def load(folder: Path) -> LastRun:
    """Read the file.

    Raises:
        UserError: there is none, or it is not whole.
    """
    try:
        return LastRun(**json.loads((folder / _NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError("no run has been submitted from here yet; name one, `make runs` lists them") from None
    except (OSError, ValueError, TypeError):
        raise UserError(f"{folder / _NAME} cannot be read; delete it and name a run, `make runs` lists them") from None
