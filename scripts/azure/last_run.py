"""A small file that remembers the run submitted last, for the commands that come after."""

import json
from pathlib import Path

from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write
from scripts.azure.submitter import RunHandle

_NAME = "last_run.json"


def save(run: RunHandle, experiment: str, folder: Path) -> None:
    """Write which run it was; `folder` is the `.azureml` beside the workspace's config."""
    with atomic_write(folder / _NAME) as file:
        file.write(json.dumps({"run_id": run.id, "experiment": experiment, "studio": run.studio_url}).encode())


def load(folder: Path) -> str:
    """Return the run's id.

    Raises:
        UserError: there is no such file, or it is not whole.
    """
    try:
        return str(json.loads((folder / _NAME).read_text(encoding="utf-8"))["run_id"])
    except FileNotFoundError:
        raise UserError("no run has been submitted from here yet; name one, `make runs` lists them") from None
    except (OSError, ValueError, KeyError):
        raise UserError(f"{folder / _NAME} cannot be read; delete it and name a run, `make runs` lists them") from None
