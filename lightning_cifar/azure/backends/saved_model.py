"""Save a network as an MLflow model, a folder, in a process of its own: the training process imports no MLflow.

By `save_model`, not `log_model`, which wants an interface of the service that Azure ML does not have (404).
"""

import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lightning_cifar.azure.process import child_environment


def can_save() -> bool:
    """Return whether this Python has what MLflow saves networks with; nothing is imported."""
    return all(find_spec(name) is not None for name in ("mlflow", "pandas"))


def save_model(module: torch.nn.Module, checkpoint: str, scratch: Path, seconds: float) -> Path:
    """Save a network with the weights of a checkpoint as an MLflow model below `scratch`, and return its folder.

    Raises:
        Exception: the network cannot be pickled, or MLflow cannot save it, or not within `seconds`.
    """
    import cloudpickle  # comes with MLflow; it pickles what a script or a notebook defines, too

    folder, pickle = scratch / "model", scratch / "module.pt"
    torch.save(module, pickle, pickle_module=cloudpickle)
    command = [sys.executable, "-m", __name__, str(folder), str(pickle), checkpoint, *_code(module)]
    path = os.pathsep.join(filter(None, [child_environment()["PYTHONPATH"], *sys.path]))  # the script's own folder, too
    environment = child_environment() | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return folder


def _code(module: torch.nn.Module) -> list[str]:
    """Return the packages and files that define a network and are not installed: the model has to bring them."""
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    names = {type(part).__module__.partition(".")[0] for part in module.modules()} - {"__main__"}
    found = [spec for name in sorted(names) if (spec := find_spec(name)) is not None]
    paths = [(spec.submodule_search_locations or [spec.origin])[0] for spec in found]
    return [path for path in paths if path is not None and not path.startswith(installed)]


def main(folder: str, pickle: str, checkpoint: str, *code: str) -> None:
    """Save a pickled network with the weights of a checkpoint; the training that waits for it has written both."""
    import mlflow.pytorch

    module: Any = torch.load(pickle, map_location="cpu", weights_only=False)
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"])
    # Named, because MLflow would find them out by loading the model, for minutes.
    wanted = [*mlflow.pytorch.get_default_pip_requirements(), "pytorch-lightning"]
    options = {"pip_requirements": wanted, "serialization_format": "pickle"}
    mlflow.pytorch.save_model(module.eval(), folder, code_paths=list(code), **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
