"""How checkpoints reach the disk and come back: whole or not at all, on one node or on many."""

import os
import pickle
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write, is_hidden


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves a checkpoint whole or not at all; under several processes, loads it where the file is.

    Lightning's own save leaves a torso under the final name when the disk is full. And nodes of a cluster share no
    folder: the file is where process 0 wrote it, which reads it and sends it to the others.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint under `path`, or leave there what was there before.

        Raises:
            UserError: the file cannot be written, for example because the disk is full.
        """
        try:
            with atomic_write(Path(path)) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise UserError(
                f"cannot save the checkpoint {path}: {_reason(error)}; free some space or write elsewhere "
                "(--trainer.default_root_dir), then resume with --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint into the CPU's memory; under several processes, process 0 reads it for all.

        Raises:
            UserError: in every process: the file is missing or not whole.
        """
        return by_process_0(lambda: _load(Path(path)))


def check_loads(path: Path) -> dict[str, Any]:
    """Make sure that a checkpoint of Lightning's exists and is whole; return it, its weights not yet read.

    Raises:
        UserError: it is missing, cut short, or none.
    """
    content = _load(path, mmap=True)
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise UserError(f"{path} is no checkpoint that Lightning saved; name another one with --ckpt_path FILE")
    return content


def _load(path: Path, mmap: bool = False) -> Any:
    """Return what a file holds; where it is mapped, its tensors are not yet read."""
    if not path.is_file():
        raise UserError(f"no checkpoint {path}: the file does not exist; name one with --ckpt_path FILE")
    if os.access(path, os.R_OK) and not zipfile.is_zipfile(path):
        raise UserError(f"the checkpoint {path} is truncated, or no checkpoint at all; name another one")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"cannot read the checkpoint {path}: {_reason(error)}; name another one") from error


def _reason(error: Exception) -> str:
    """Return the line that names the cause; before it, PyTorch proposes to load a pickle that may run any code."""
    return getattr(error, "strerror", None) or str(error).split("WeightsUnpickler error: ")[-1].partition("\n")[0]


def newest_checkpoint(results: Path, name: str) -> Path:
    """Return the checkpoint `last` or `best` below the results folder that was written last.

    Raises:
        UserError: there is none.
    """
    found = [path for path in results.glob(f"**/{name}*.ckpt") if not is_hidden(path.name)]
    if not found:
        raise UserError(
            f"--ckpt_path {name}: no checkpoint {name}.ckpt in any run below {results}/; "
            "train first, or name a file with --ckpt_path FILE"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)


class RunCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` that remembers the best network of a resumed run.

    Lightning forgets the best score when a run goes on in a folder of its own, and then keeps the first network
    of the new run as the best.
    """

    state_key = cached_property(ModelCheckpoint.state_key.fget)  # type: ignore[attr-defined]  # a property
    """Under which a checkpoint keeps the state; built anew at each of 12 hooks, it would take 3 % of a tiny step."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state, that of the best network too, if it is still where it was."""
        # As process 0 sees it, which saves and has the files: all must test the same network in the end.
        if by_process_0(Path(state_dict["best_model_path"]).is_file):
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})


def by_process_0(ask: Callable[[], Any]) -> Any:
    """Return in all processes what `ask` returns in process 0.

    Raises:
        UserError: in all processes: `ask` raised it in process 0.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return ask()
    answer: list[Any] = [None]
    if torch.distributed.get_rank() == 0:
        try:
            answer[0] = ask()
        except UserError as error:
            answer[0] = error
    torch.distributed.broadcast_object_list(answer, src=0)
    if isinstance(answer[0], UserError):
        raise answer[0]
    return answer[0]
