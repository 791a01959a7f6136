"""Reduce the overhead of Lightning and PyTorch in a tiny step, such as `Net`'s at batch 4.

The shares are of the processor time of such a step in the real Trainer, with and without in turns (PyTorch 2.15,
Lightning 2.6.6); what saves less than 1 % is not worth its lines.
"""

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.profilers import PassThroughProfiler
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_cifar.net_check import try_net

TINY = 10_000_000
"""Floating-point operations of a forward pass up to which a step is computed by one thread: `Net` up to batch 7."""

NOTHING = nullcontext()


class QuickAttributes(nn.Module):
    """Makes it cheap to set an attribute of a module to a string or None.

    Lightning notes the running hook's name 44 times a step; `nn.Module` looks through parameters, buffers and
    submodules each time: 3 to 5 % of a step.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if (value is None or type(value) is str) and name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


def quick_signature(method: Callable[..., Any]) -> Callable[..., Any]:
    """Find out a method's parameters once: Lightning asks for those of `training_step` at each step, 1.6 % of one."""
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]  # where inspect looks first
    return method


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's default does, but without a new context manager at each hook.

    Lightning enters some fifty of them in a training step, 3 to 5 % of it. `--trainer.profiler simple` and the others
    take its place.
    """

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]  # no generator
        """Return the one context that does nothing."""
        return NOTHING


def threads_for(net: nn.Module, batch_size: int) -> int:
    """Return how many threads a training step on the CPU is worth: one for a tiny step, else all that PyTorch has.

    With next to nothing to share out, a second thread wins nothing; and on a machine that does anything else, the
    first one waits at each operation until the second one's core is free.

    Args:
        net: maps images (N, 3, 32, 32) on the CPU.
        batch_size: images in a batch.
    """
    if "OMP_NUM_THREADS" in os.environ:  # the user has decided, or Lightning has, for several processes
        return torch.get_num_threads()
    with FlopCounterMode(display=False) as counter:
        try_net(net)
    return 1 if counter.get_total_flops() / 2 * batch_size <= TINY else torch.get_num_threads()


class Threads(Callback):
    """Lets one thread compute tiny training steps on the CPU, and the validations between them."""

    _before: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Weigh a training step."""
        batch_size = getattr(trainer.train_dataloader, "batch_size", None)
        if pl_module.device.type == "cpu" and batch_size and hasattr(pl_module, "net"):
            self._before = torch.get_num_threads()
            torch.set_num_threads(threads_for(pl_module.net, batch_size))  # type: ignore[arg-type]  # a module

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the threads as they were found."""
        if self._before:
            torch.set_num_threads(self._before)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the threads as they were found."""
        self.on_train_end(trainer, pl_module)
