"""The configuration of a run: as config.yaml in its folder, and as hyperparameters in the loggers."""

from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """`SaveConfigCallback` that also logs the settings that runs are compared by.

    These are the seed, the data, the optimizer, the schedule and the number of epochs.
    """

    def save_config(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        """Log the settings to every logger, and config.yaml to those that take files."""
        settings = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))  # plain values, as in config.yaml
        chosen = {name: settings[name] for name in ("seed_everything", "data", "optimizer", "lr_scheduler")}
        chosen["max_epochs"] = trainer.max_epochs
        for logger in trainer.loggers:
            logger.log_hyperparams(chosen)
            if hasattr(logger, "log_artifact"):
                # Not `trainer.log_dir`: it waits for the other processes, which do not get here.
                folder = getattr(trainer.logger, "log_dir", None) or trainer.logger.save_dir or trainer.default_root_dir
                logger.log_artifact(Path(folder) / self.config_filename)
