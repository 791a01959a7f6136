"""At which step a standalone `validate` or `test` belongs: that of the checkpoint it evaluates."""

from typing import Any

import torch
from pytorch_lightning.trainer.states import TrainerFn


def steps_of_checkpoint(trainer: Any) -> int:
    """Return the steps to add to a trainer's count: the checkpoint's, if it evaluates one without training.

    Lightning restores the weights but not the count, so without this a standalone test would be a point at
    step 0.
    """
    if trainer is None or trainer.state.fn not in (TrainerFn.VALIDATING, TrainerFn.TESTING):
        return 0
    if trainer.global_step > 0 or not trainer.ckpt_path:
        return 0
    try:
        # Only the count is wanted: tensors are mapped, not read, and nothing in the file is executed.
        checkpoint = torch.load(trainer.ckpt_path, map_location="cpu", mmap=True, weights_only=True)
        return _steps(checkpoint)
    except Exception:  # remote, of an old format, or holding more than weights: Lightning has loaded it, ask that
        loaded = getattr(getattr(trainer, "_checkpoint_connector", None), "_loaded_checkpoint", None) or {}
        return _steps(loaded)


def _steps(checkpoint: Any) -> int:
    # As Lightning counts the steps of logged metrics; with one optimizer that is `global_step`.
    loops = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.state_dict", {})
    return int(loops.get("_batches_that_stepped", checkpoint.get("global_step", 0)))
