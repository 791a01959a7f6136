"""Write the results of a run as files that programs read: `summary.json` and `metrics.csv`."""

import csv
import io
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer

from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.files import atomic_write
from lightning_cifar.recipes import RECIPES


def recipe_name(configs: Sequence[Any]) -> str:
    """Return the name of the last config file that is a recipe's, else of the last one; `default` of none."""
    paths = [Path(str(config)).absolute() for config in configs]
    names = [path.stem for path in paths if path in RECIPES.values()] or [path.name for path in paths] or ["default"]
    return names[-1]


def summarize(
    trainer: Trainer, model: CIFAR10Classifier, data: str, recipe: str, seed: Any, seconds: float, speed: float | None
) -> dict[str, Any]:
    """Return what a run has reached, and with what.

    Args:
        trainer: after `test`.
        model: the network that it trained.
        data: name of the source.
        recipe: as `recipe_name` returns it.
        seed: of `--seed_everything`.
        seconds: training and validation took, over all parts of a run that was interrupted and resumed.
        speed: training images per second of the last part; None where nothing was trained.
    """
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    device = trainer.strategy.root_device
    return {
        "recipe": recipe,
        "network": type(model.net).__name__,
        "parameters": sum(parameter.numel() for parameter in model.net.parameters()),
        "data": data,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "test_acc": metrics.get("test_acc"),
        "test_loss": metrics.get("test_loss"),
        "seconds": round(seconds, 1),
        "images_per_second": None if speed is None else round(speed, 1),
        "peak_memory_mb": _peak_memory(device),
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "machine": processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "pytorch-lightning")},
        "git_commit": _git_commit(),
        "command": ["python", "-m", "lightning_cifar", *sys.argv[1:]],
        "finished": time.strftime("%F %T %z"),
    }


def write_results(folder: Path, summary: dict[str, Any], model: CIFAR10Classifier) -> None:
    """Write `summary.json`, and `metrics.csv` with the steps of `loss` and `val_loss`, into a run's folder.

    Raises:
        OSError: the disk is full, for instance.
    """
    with atomic_write(folder / "summary.json") as file:
        file.write(json.dumps(summary, indent=2).encode())
    text = io.StringIO()
    rows: dict[int, dict[str, float]] = {}
    for name, curve in (("loss", model.loss_history), ("val_loss", model.val_history)):
        for step, value in curve:
            rows.setdefault(step, {"step": step})[name] = value
    table = csv.DictWriter(text, ["step", "loss", "val_loss"])
    table.writeheader()
    table.writerows(row for _, row in sorted(rows.items()))
    with atomic_write(folder / "metrics.csv") as file:
        file.write(text.getvalue().encode())


def processor() -> str:
    """Return the name of this machine's processor."""
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak_memory(device: torch.device) -> int | None:
    """Return the most memory in use so far, in MB: of the GPU, else of this process; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used >> (20 if sys.platform == "darwin" else 10)  # bytes on macOS, else kB


def _git_commit() -> str | None:
    """Return the commit of this package's source; None where it is in no repository."""
    try:
        ask = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
