"""The checkpoint that a command starts from: what `--ckpt_path` means, and where a restarted job goes on."""

import os
from collections.abc import Callable
from pathlib import Path

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.callbacks.checkpoints import by_process_0, check_loads, newest_checkpoint
from lightning_cifar.errors import UserError


def resolve_ckpt_path(wanted: str, results: Path) -> str:
    """Return the file that `--ckpt_path` names: the newest `last` or `best` below the results folder, or itself.

    Raises:
        UserError: there is none, or it is no whole checkpoint.
    """
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # an attribute of a function
    try:
        path = newest_checkpoint(results, wanted) if wanted in ("last", "best") else Path(wanted)
        check_loads(path)
    except UserError:
        if is_first:
            raise
        # Nodes share no files: process 0 reads the checkpoint and broadcasts it, whatever the name here. Only the
        # network in it has to be named again.
        return "handed-over-by-process-0.ckpt"
    if is_first and wanted != str(path):
        print(f"--ckpt_path {wanted} is {path}")
    return str(path)


def ask_where_to_resume(ask: Callable[[Path], str | None], trainer: Trainer) -> str | None:
    """Call the hook `--resume`; where the platform started several processes, in process 0: their disks differ.

    Raises:
        UserError: in every process: the hook raised it.
    """
    results = Path(trainer.default_root_dir)
    if trainer.world_size == 1 or "RANK" not in os.environ:
        return ask(results)
    trainer.strategy.setup_environment()  # as `fit` would do in a moment
    return by_process_0(lambda: ask(results))
