"""CIFAR-10 with PyTorch Lightning, and an Azure ML logger that works with any LightningModule.

Each name is imported at its first use, so that the logger alone loads neither torchvision nor CIFAR code.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_cifar.azure.logger import AzureMLLogger
    from lightning_cifar.classifier import CIFAR10Classifier
    from lightning_cifar.datamodule import CIFAR10DataModule
    from lightning_cifar.nets import Net

__all__ = ["AzureMLLogger", "CIFAR10Classifier", "CIFAR10DataModule", "Net"]

_HOMES = {
    "AzureMLLogger": "lightning_cifar.azure.logger",
    "CIFAR10Classifier": "lightning_cifar.classifier",
    "CIFAR10DataModule": "lightning_cifar.datamodule",
    "Net": "lightning_cifar.nets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
