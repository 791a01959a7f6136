"""The part of AzureMLLogger that logs more than metrics: what Azure ML Studio shows natively, and files."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.encode import Encoder
from lightning_cifar.azure.media import artifact_name, confusion_matrix_entry, save_image, table_entry


class StudioLogging:
    """Logs images, tables, texts, matrices and files.

    Everything is written to disk here and sent by the relay. A name of an image, table or matrix counts among the
    run's 50 names; one too many is warned of like a metric's.
    """

    # What the logger brings: where to record (None: nowhere), the name under which a key arrives, and whether the
    # job uploads a file anyway.
    _encoder: Encoder
    _open_delivery: Callable[[], Delivery | None]
    _name: Callable[[str], str]
    _platform_uploads: Callable[[Path], bool]

    @rank_zero_only
    def log_image(self, key: str, images: Any, step: int | None = None) -> None:
        """Show images under `key`.

        Args:
            key: the name in Studio.
            images: one or a list of: figures, PIL images, paths, tensors (C, H, W), arrays (H, W, C); floats
                in [0, 1] or integers in 0..255.
            step: a part of the files' names; Studio orders the images of one name by time.
        """
        delivery, name = self._open_delivery(), self._name(key)
        if delivery is None or not self._encoder.claim(name):
            return
        images = list(images) if isinstance(images, list | tuple) else [images]
        for index, image in enumerate(images):
            suffix = f"-{index}.png" if len(images) > 1 else ".png"
            path = artifact_name(f"images/{key}", self._encoder.shifted(step), suffix)
            self._add_file(delivery, {"image": name}, path, partial(save_image, image))

    @rank_zero_only
    def log_figure(self, key: str, figure: Any, step: int | None = None) -> None:
        """Show a matplotlib figure under `key`."""
        self.log_image(key, [figure], step)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Add rows to the table `key`: columns and data, or a pandas DataFrame; `step` is one more column.

        A row that the table has already is not added again.

        Raises:
            ValueError: neither is given, or the service has no room for so many columns.
        """
        if dataframe is not None:
            columns, data = list(dataframe.columns), dataframe.to_numpy().tolist()
        if columns is None or data is None:
            raise ValueError(f"table {key!r} needs columns and data, or a dataframe")
        delivery = self._open_delivery()
        entry = table_entry(self._name(key), columns, data, self._encoder.shifted(step))
        if delivery is not None and self._encoder.claim(entry["table"]):
            delivery.add("metrics", entry)

    @rank_zero_only
    def log_text(self, key: str, text: str, step: int | None = None) -> None:
        """Keep a text as a file of the run, `texts/<key>.txt`."""
        if (delivery := self._open_delivery()) is not None:
            path = artifact_name(f"texts/{key}", self._encoder.shifted(step), ".txt")
            self._add_file(delivery, {}, path, lambda file: file.write_text(text, encoding="utf-8"))

    @rank_zero_only
    def log_confusion_matrix(self, key: str, matrix: Any, class_names: Sequence[str], step: int | None = None) -> None:
        """Draw a confusion matrix of counts, (true class, predicted class).

        Studio keeps one under each name: a second one gets the step, or a number, added to its own.
        """
        if (delivery := self._open_delivery()) is None:
            return
        key = artifact_name(key)  # it names the artifact, too
        free = self._encoder.new_file(key)
        if free != key:
            key = free if step is None else f"{key}-step-{self._encoder.shifted(step)}"
        entry = confusion_matrix_entry(self._name(key), matrix, class_names)
        if self._encoder.claim(entry["confusion_matrix"]):
            delivery.add("media", entry)

    @rank_zero_only
    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file, such as the run's config, under its own name or `artifact_path`.

        What is uploaded is what the file holds now, though it may be deleted or overwritten later. What lies under
        `outputs/` or `logs/` in a job is left to the platform, which uploads it anyway.
        """
        delivery, path = self._open_delivery(), Path(path)
        if delivery is not None and not self._platform_uploads(path):
            name = artifact_name(artifact_path or path.name)
            self._add_file(delivery, {}, name, partial(shutil.copyfile, path))

    def _add_file(
        self, delivery: Delivery, entry: dict[str, Any], artifact: str, save: Callable[[Path], object]
    ) -> None:
        def write(file: Path) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            save(file)

        artifact = self._encoder.new_file(artifact)
        delivery.add_file(entry or {"file": artifact}, artifact, write)
