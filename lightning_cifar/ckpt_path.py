"""Resolve `--ckpt_path` (`last`, `best` or a file), and ask where a restarted job resumes."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.callbacks.checkpoints import by_process_0, check_loads, newest_checkpoint
from lightning_cifar.errors import UserError

_NO_CODE = re.compile(r"\w*|lightning_cifar\.Net|(lightning_cifar\.nets|torch\.nn|torchvision\.models)\.[\w.]+")


def resolve_ckpt_path(wanted: str, results: Path, net: str | None = None) -> str:
    """Return the file that `--ckpt_path` names: the newest `last` or `best` below the results folder, or itself.

    Raises:
        UserError: there is none, it is no whole checkpoint, or comes from elsewhere and names code other than `net`.
    """
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # an attribute of a function
    try:
        path = newest_checkpoint(results, wanted) if wanted in ("last", "best") else Path(wanted)
        _check_names(path, check_loads(path), results, net)
    except UserError:
        if is_first:
            raise
        # Nodes share no files: process 0 reads the checkpoint and broadcasts it, whatever the name here. Only the
        # network in it has to be named again.
        return "handed-over-by-process-0.ckpt"
    if is_first and wanted != str(path):
        print(f"--ckpt_path {wanted} is {path}")
    return str(path)


def _check_names(path: Path, checkpoint: dict[str, Any], results: Path, net: str | None) -> None:
    """Check that a checkpoint from elsewhere names no network whose code would have to be run first."""
    if not path.resolve().is_relative_to(results.resolve()):
        for name in _texts(checkpoint.get("hyper_parameters")):
            if name != net and not _NO_CODE.fullmatch(name):
                raise UserError(f"{path} would run the code {name!r}: name it with --model.net if you trust it")


def _texts(settings: Any) -> Iterator[str]:
    """Yield the texts by which a checkpoint names its network, in whatever they are nested."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, list | tuple):
        yield from (text for value in settings for text in _texts(value))
    elif isinstance(settings, dict):  # class names may be any words
        yield from _texts([value for key, value in settings.items() if key not in ("class_names", "_instantiator")])


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
