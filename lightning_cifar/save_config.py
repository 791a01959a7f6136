"""What a run's folder says of the run: its whole configuration; and no folder where no run came about."""

import contextlib
import time
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """Keeps the whole configuration with the run, and hands it to the loggers: data, optimizer and all.

    Where an error ends the run before its first batch, the folder made for it goes again.

    Args:
        args: as for `SaveConfigCallback`.
        kwargs: as for `SaveConfigCallback`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._made_after = time.time() - 1  # a file system's clock is coarser than this one
        self._begun = False

    def save_config(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        """Log the settings that a run is compared by."""
        settings = yaml.safe_load(self.parser.dump(self.config, skip_none=False))  # plain values, as in config.yaml
        chosen = {name: settings[name] for name in ("seed_everything", "data", "optimizer", "lr_scheduler")}
        chosen["max_epochs"] = trainer.max_epochs
        for logger in trainer.loggers:
            logger.log_hyperparams(chosen)
            if hasattr(logger, "log_artifact"):
                logger.log_artifact(_folder(trainer) / self.config_filename)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note that the run has begun."""
        self._begun = True

    on_validation_start = on_test_start = on_train_start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the folder of a run that never began, if nothing else is in it."""
        if self._begun or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.finalize("failed")  # TensorBoard's writer would make its file anew
        folder = _folder(trainer)
        if folder.is_dir() and all(self._is_ours(path) for path in folder.iterdir()):
            for path in folder.iterdir():
                path.unlink()
            with contextlib.suppress(OSError):  # not empty: of other runs
                for place in (folder, folder.parent, folder.parent.parent):
                    if place.resolve() != Path.cwd():
                        place.rmdir()

    def _is_ours(self, path: Path) -> bool:
        named = path.name in ("hparams.yaml", self.config_filename) or path.name.startswith("events.out.tfevents")
        return named and path.stat().st_mtime >= self._made_after


def _folder(trainer: Any) -> Path:
    """The run's folder, for process 0 alone: `trainer.log_dir` would wait for the other processes for ever."""
    logger = trainer.logger
    return Path(getattr(logger, "log_dir", None) or getattr(logger, "save_dir", None) or trainer.default_root_dir)
