"""A folder for each run, which no other run takes."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class RunLogger(TensorBoardLogger):
    """`TensorBoardLogger` that creates its folder `version_N` when it chooses the number.

    Lightning creates it later, so that runs that are started together take the same one.

    Args:
        kwargs: as for `TensorBoardLogger`.
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
    """Put the run's folder into that of the results, with the name of its data.

    Args:
        trainer: the trainer's settings.
        data: the name of the data.
        saves: whether checkpoints are saved: without a logger, too, they need a folder.
    """
    for logger in trainer.logger if isinstance(trainer.logger, list) else []:
        settings = logger.get("init_args", {})
        if settings.get("save_dir") == "results":
            settings.save_dir = trainer.default_root_dir
        if settings.get("name") == "lightning_logs":
            settings.name = data
    if trainer.logger is False and saves:
        trainer.default_root_dir = TensorBoardLogger(trainer.default_root_dir, data).log_dir
