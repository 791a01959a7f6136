"""A folder for each run, which no other run takes."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from lightning_cifar.processes import is_first


class RunLogger(TensorBoardLogger):
    """`TensorBoardLogger` that makes its folder `version_N` when it chooses the number.

    Lightning makes it later, and runs that are started together take the same one.

    Args:
        kwargs: as for `TensorBoardLogger`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._claimed = kwargs.get("version")

    @property
    def version(self) -> int | str:
        """What the folder is called, by default its number: the first that is free."""
        if self._claimed is None:
            self._claimed = self._claim()
        return self._claimed

    def _claim(self) -> int | str:
        free = super().version
        if isinstance(free, str) or not is_first():
            return free
        while True:
            try:
                Path(self.root_dir, f"version_{free}").mkdir(parents=True)
                return free
            except FileExistsError:
                free += 1
