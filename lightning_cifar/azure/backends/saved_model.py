"""Save a network as an MLflow model, a folder, in a process of its own: the training process imports no MLflow.

By `save_model`, not `log_model`, which wants an interface of the service that Azure ML does not have (404).
"""

import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
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
    own = _own_modules()
    for each in own:  # what is not installed goes along; as files of code it would be many
        cloudpickle.register_pickle_by_value(each)
    try:
        torch.save(module, pickle, pickle_module=cloudpickle)
    finally:
        for each in own:
            cloudpickle.unregister_pickle_by_value(each)
    command = [sys.executable, "-m", __name__, str(folder), str(pickle), checkpoint]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return folder


def _own_modules() -> list[ModuleType]:
    """Return the imported packages and modules that are the user's own: neither installed nor Python's."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if "." not in name}
    files.pop("__main__", None)  # that is pickled by value anyway
    elsewhere = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return [
        sys.modules[name]
        for name, file in files.items()
        if file and not file.startswith(elsewhere) and {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    ]


def main(folder: str, pickle: str, checkpoint: str) -> None:
    """Save a pickled network with the weights of a checkpoint; the training that waits for it has written both."""
    import mlflow.pytorch

    module: Any = torch.load(pickle, map_location="cpu", weights_only=False)
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    # Named, because MLflow would find them out by loading the model, for minutes.
    wanted = [*mlflow.pytorch.get_default_pip_requirements(), "pytorch-lightning"]
    mlflow.pytorch.save_model(module.eval(), folder, pip_requirements=wanted, serialization_format="pickle")


if __name__ == "__main__":
    main(*sys.argv[1:])
