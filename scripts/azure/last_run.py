"""A small file that remembers the run submitted last, for the commands that come after."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_cifar.errors import UserError

_NAME = "last_run.json"


@dataclass(frozen=True)
class LastRun:
    """Which run was submitted last, and where it can be watched."""

    run_id: str
    experiment: str
    studio: str


def save(run: LastRun, folder: Path) -> Path:
    """Write the file as a whole; `folder` is the `.azureml` beside the workspace's config."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=_NAME, delete=False, encoding="utf-8") as file:
        json.dump(asdict(run), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name).replace(folder / _NAME)


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
