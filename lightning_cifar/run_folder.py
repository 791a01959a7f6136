"""Create a new folder for each run, and save the run's configuration in it."""

from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class RunLogger(TensorBoardLogger):
    """`TensorBoardLogger` that creates its folder `version_N` when it chooses the number.

    Lightning creates it later, so that runs that are started together take the same one.
    """

    def _get_next_version(self) -> int:
        version = super()._get_next_version()
        while rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # an attribute of a function
            try:
                Path(self.root_dir, f"version_{version}").mkdir(parents=True)
                break
            except FileExistsError:
                version += 1
        return version


def name_run_folder(trainer: Any, data: str, saves: bool) -> None:
    """Set up the trainer's loggers to put the run's folder into that of the results, with the name of its data.

    Without a logger, a run that `saves` checkpoints has such a folder, too.
    """
    for logger in trainer.logger if isinstance(trainer.logger, list) else []:
        settings = logger.get("init_args", {})
        if settings.get("save_dir") == "results":
            settings.save_dir = trainer.default_root_dir
        if settings.get("name") == "lightning_logs":
            settings.name = data
    if trainer.logger is False and saves:
        trainer.default_root_dir = TensorBoardLogger(trainer.default_root_dir, data).log_dir


class SaveConfig(SaveConfigCallback):
    """`SaveConfigCallback` that also logs seed, data, optimizer, schedule and epochs, which runs are compared by."""

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
