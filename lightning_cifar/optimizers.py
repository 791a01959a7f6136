"""Optimizer and learning-rate schedule from the command line's settings, and a schedule that goes by steps."""

import inspect
import math
import pydoc
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import ReduceLROnPlateau, instantiate_class
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_cifar.errors import UserError

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class GroupSettings:
    """How the optimizer treats a group of parameters.

    Args:
        lr_factor: of the learning rate.
        weight_decay: of this group; None: the optimizer's.
    """

    lr_factor: float = 1.0
    weight_decay: float | None = None


class WarmupToLinear(LambdaLR):
    """Raises the learning rate linearly to the optimizer's, then lowers it linearly; goes by steps.

    Source: airbench94, https://github.com/KellerJordan/cifar10-airbench.

    Args:
        optimizer: its `lr` is the highest.
        total_steps: of the training, at least 1; on the command line the Trainer's by default.
        start: factor of `lr` at the first step.
        warmup: share of the steps until the highest, 0 to 1.
        end: factor of `lr` after the last step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int | None = None,
        start: float = 0.2,
        warmup: float = 0.23,
        end: float = 0.07,
    ) -> None:
        if not total_steps:
            raise ValueError(f"total_steps is {total_steps}: give the number of steps of the training")
        steps = [0, int(warmup * total_steps), total_steps]
        super().__init__(optimizer, lambda step: float(np.interp(step, steps, [start, 1.0, end])))


def parameter_groups(module: nn.Module) -> dict[Literal["norms", "biases", "weights"], list[nn.Parameter]]:
    """Return the trained parameters: those of normalisation layers, the biases of other layers, and all others."""
    groups: dict[Literal["norms", "biases", "weights"], list[nn.Parameter]] = {"norms": [], "biases": [], "weights": []}
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.requires_grad:
                is_norm = isinstance(layer, NORMS)
                groups["norms" if is_norm else "biases" if name == "bias" else "weights"].append(parameter)
    return groups


def build_optimizer(
    module: LightningModule,
    optimizer: dict[str, Any],
    lr_scheduler: dict[str, Any] | None,
    norms: GroupSettings,
    biases: GroupSettings,
) -> dict[str, Any]:
    """Return what `configure_optimizers` returns, from `class_path` and `init_args` of optimizer and schedule.

    A schedule that takes `total_steps`, as `OneCycleLR` does, goes by steps, and has those of the Trainer where it
    names none; any other goes by epochs.

    Raises:
        UserError: such a schedule, and a training without end.
    """
    own = {"norms": norms, "biases": biases}
    groups = [
        {"params": parameters, "name": name}
        for name, parameters in parameter_groups(module).items()
        if parameters
    ]
    built = instantiate_class((groups,), optimizer)
    for group in built.param_groups:
        settings = own.get(group.pop("name"), GroupSettings())
        group["lr"] *= settings.lr_factor
        if settings.weight_decay is not None:
            group["weight_decay"] = settings.weight_decay
    if not lr_scheduler:
        return {"optimizer": built}
    by_steps = "total_steps" in inspect.signature(pydoc.locate(lr_scheduler["class_path"])).parameters  # type: ignore[arg-type]  # it was parsed
    if by_steps and not lr_scheduler["init_args"].get("total_steps"):
        steps = module.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise UserError("--lr_scheduler needs to know the end of the training: give --trainer.max_epochs or max_steps")
        lr_scheduler = {**lr_scheduler, "init_args": {**lr_scheduler["init_args"], "total_steps": int(steps)}}
    scheduler = instantiate_class(built, lr_scheduler)
    settings = {"scheduler": scheduler, "interval": "step" if by_steps else "epoch"}
    if isinstance(scheduler, ReduceLROnPlateau):
        settings["monitor"] = scheduler.monitor
    return {"optimizer": built, "lr_scheduler": settings}
