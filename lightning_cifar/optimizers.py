"""Build optimizer and learning-rate schedule from the command line's settings; a schedule that goes by steps."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jsonargparse import Namespace
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import ReduceLROnPlateau, instantiate_class
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_cifar.callbacks.progress import print_above_bar
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


def parameter_groups(module: nn.Module, norms: GroupSettings, biases: GroupSettings) -> list[dict[str, Any]]:
    """Return the trained parameters in three groups: those of normalisation layers, other biases, and the rest.

    Each group has, beside `params`, the `settings` that were passed for it.
    """
    groups: dict[str, dict[str, Any]] = {
        "weights": {"params": [], "settings": GroupSettings()},
        "norms": {"params": [], "settings": norms},
        "biases": {"params": [], "settings": biases},
    }
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.requires_grad:
                kind = "norms" if isinstance(layer, NORMS) else "biases" if name == "bias" else "weights"
                groups[kind]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def training_steps(trainer: Trainer) -> float:
    """Return how many steps the optimizer makes in a training; infinite where it has no end.

    As `Trainer.estimated_stepping_batches`, which loads the training data before a checkpoint's place in the epoch is
    restored, and with that loses it (Lightning 2.6).
    """
    epochs, steps = trainer.max_epochs or 0, trainer.max_steps if trainer.max_steps != -1 else math.inf
    if epochs == -1:
        return steps
    batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]  # set where mypy does not look
    limit = trainer.limit_train_batches
    batches = int(limit * batches) if isinstance(limit, float) else min(limit, batches)
    return min(math.ceil(batches / trainer.accumulate_grad_batches) * epochs, steps)


def build_optimizer(
    module: LightningModule,
    optimizer: Namespace,
    lr_scheduler: Namespace | None,
    norms: GroupSettings,
    biases: GroupSettings,
) -> dict[str, Any]:
    """Return what `configure_optimizers` returns, from the classes and arguments of optimizer and schedule.

    A schedule that takes `total_steps`, as `OneCycleLR` does, goes by steps, those of the Trainer where it names none;
    any other goes by epochs.

    Raises:
        UserError: the training has no end that such a schedule could lead to.
    """
    parameters: Any = module.parameters()
    if (norms, biases) != (GroupSettings(), GroupSettings()):  # else one group, as in checkpoints of older versions
        parameters = parameter_groups(module, norms, biases)
    built = instantiate_class((parameters,), optimizer.as_dict())
    for group in built.param_groups:
        settings = group.pop("settings", GroupSettings())
        group["lr"] *= settings.lr_factor
        if settings.weight_decay is not None:
            group["weight_decay"] = settings.weight_decay
    if not lr_scheduler:
        return {"optimizer": built}
    init = lr_scheduler.as_dict()
    by_steps = "total_steps" in init["init_args"]
    if by_steps and init["init_args"]["total_steps"] is None:
        steps = training_steps(module.trainer)
        if math.isinf(steps):
            raise UserError(f"{init['class_path']} leads to the training's end: give --trainer.max_epochs or max_steps")
        init["init_args"]["total_steps"] = int(steps)
    schedule = instantiate_class((built,), init)
    config = {"scheduler": schedule, "interval": "step" if by_steps else "epoch"}
    if isinstance(schedule, ReduceLROnPlateau):
        config["monitor"] = schedule.monitor
    return {"optimizer": built, "lr_scheduler": config}


def print_optimizer(trainer: Trainer, model: LightningModule, origin: str | None) -> None:
    """Print class and learning rate, of a resumed run the checkpoint's, and where the optimizer comes from.

    On the command line, `--optimizer` and its default replace the module's own `configure_optimizers`: whoever edits
    that method must see that it is not called. `origin` is None where it is.
    """
    own = f"{type(model).__name__}.configure_optimizers"
    source = own if origin is None else f"{origin}, in place of {own} (which --optimizer null uses)"
    for optimizer in trainer.optimizers:
        lr = optimizer.param_groups[0]["lr"]
        print_above_bar(trainer, f"{type(optimizer).__name__} with lr {lr:g}, from {source}")
