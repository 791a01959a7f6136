"""Ctrl-C, SIGTERM and the clock: a checkpoint at the end of the current batch, from which training goes on."""

import math
import os
import signal
import sys
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING_SAVED = "nothing was saved"

EVERY = 10
"""Batches after which several processes agree whether to stop, or to save."""
DUE = 1
"""What a process votes for whose clock says that a checkpoint is due: less than any signal, which so wins."""


class Interrupted(BaseException):
    """Raised where a training stops because a signal asked for it.

    Not a `KeyboardInterrupt`, which Lightning turns into exit code 1.

    Args:
        signum: the signal.
        remedy: what was saved, if anything, and what to do next.
    """

    def __init__(self, signum: int, remedy: str = NOTHING_SAVED) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum
        self.remedy = remedy
        self.exit_code = 128 + signum  # as shells have it: 130 for Ctrl-C, 143 for SIGTERM


def raise_when_signalled() -> None:
    """Let Ctrl-C and SIGTERM raise `Interrupted` wherever the main thread is, from now on."""
    for signum in SIGNALS:
        signal.signal(signum, _raise)


def print_last(line: str) -> None:
    """Print a line on stderr that no other signal can hide; afterwards, the next one ends the process at once."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    print(line, file=sys.stderr)
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


def _raise(signum: int, _: FrameType | None) -> None:
    # after one that is on its way already, which knows what was saved, the words are that one's
    raise Interrupted(signum, getattr(sys.exception(), "remedy", NOTHING_SAVED))


class GracefulStop(Checkpoint):
    """Saves `last.ckpt` and raises `Interrupted` at the end of the batch in which a signal came; a second Ctrl-C kills.

    A validation is first brought to its end, and within an epoch the batch after it; one that was due within an epoch
    after the batch is left out. Lightning itself raises in mid-step, from where a resumed run ends with other weights.
    A `Checkpoint`, so that Lightning calls it after the callbacks that may still change what is saved.

    Several processes stop after the same batch: they agree after every tenth, on the CPU, so that none waits for a GPU.

    Lightning's own `ModelCheckpoint(train_time_interval=…)` makes all processes wait for each other after every batch,
    and also saves where gradients, or a validation that is due, would be lost to the resumed run.

    Args:
        checkpoint_every: seconds after which `last.ckpt` is saved and the training goes on; None: never.
    """

    def __init__(self, checkpoint_every: float | None = None) -> None:
        self._every = checkpoint_every or math.inf
        self._due = math.inf
        self._signum = self._agreed = self._asked = 0
        self._replaced: dict[int, Any] = {}
        self._voters: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, whose SIGTERM handler makes collective calls."""
        if not self._replaced:
            self._replaced = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        if trainer.world_size > 1 and torch.distributed.get_backend() != "gloo":
            # not a GPU's own group: to read the answer would be to wait for all that the GPU has to do before
            self._voters = torch.distributed.new_group(backend="gloo")
        self._due = monotonic() + self._every

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the signals back; one that came too late to stop the training stops what would follow it."""
        for signum, handler in self._replaced.items():
            signal.signal(signum, handler)
        self._replaced = {}
        signum = self._signalled(trainer, at_once=True)
        self._dissolve()
        if signum:
            raise Interrupted(signum, "the training had ended; next: test --ckpt_path last")

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self._signum and signum == signal.SIGINT:
            os.write(2, b"interrupted again: ended at once, without saving\n")  # print is not safe here
            os._exit(Interrupted(signum).exit_code)
        self._signum = self._signum or signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop or save here, unless the epoch's or the training's end or more gradients follow, and would be lost."""
        if vote := self._signalled(trainer):
            ends = trainer.is_last_batch or trainer.global_step == trainer.max_steps
            accumulates = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
            if not (ends or accumulates):
                if vote != DUE:
                    self._stop(trainer, vote)
                if not _validates_next(trainer):
                    self._save(trainer)
                    self._agreed, self._due = 0, monotonic() + self._every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here, if the signal came in an epoch's last batch or the validation that followed."""
        if signum := self._signalled(trainer, at_once=True):
            self._stop(trainer, signum)

    def _signalled(self, trainer: Trainer, at_once: bool = False) -> int:
        """Return the signal that stops the training, or not `at_once` `DUE`, or 0; the same in each process."""
        wanted = self._signum or (DUE if not at_once and monotonic() >= self._due else 0)
        if trainer.world_size == 1:
            return wanted
        self._asked += 1
        if at_once or self._asked % EVERY == 0:
            vote = torch.tensor(wanted)
            torch.distributed.all_reduce(vote, torch.distributed.ReduceOp.MAX, group=self._voters)
            self._agreed = int(vote)
        return self._agreed

    def _stop(self, trainer: Trainer, signum: int) -> None:
        interrupted = Interrupted(signum)
        if path := self._save(trainer):
            interrupted.remedy = f"saved {path}; go on with --ckpt_path {path}"
        self._dissolve()
        raise interrupted

    def _save(self, trainer: Trainer) -> Path | None:
        """Save `last.ckpt` and return its path; None where a run keeps no checkpoints."""
        folder = getattr(trainer.checkpoint_callback, "dirpath", None)
        path = Path(folder) / "last.ckpt" if folder else None
        if path:
            trainer.save_checkpoint(path, weights_only=False)
        return path

    def _dissolve(self) -> None:
        """End the group's threads: a process that ends with them running is aborted."""
        if self._voters is not None:
            torch.distributed.destroy_process_group(self._voters)
            self._voters = None


def _validates_next(trainer: Trainer) -> bool:
    """Return whether a validation within the epoch follows this batch: a run resumed from here would leave it out."""
    loop = trainer.fit_loop.epoch_loop
    done = (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx) + 1
    return done % (trainer.val_check_batch or math.inf) == 0
