"""The part of AzureMLLogger that logs more than metrics: what Azure ML Studio shows natively, and files."""

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.azure.backends import V1_LIMITS, Limits
from lightning_cifar.azure.backends.names import artifact_name
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.encode import Encoder, as_number


class StudioLogging:
    """Logs images, tables, texts, matrices and files: writes them to disk, for the relay to send."""

    # What the logger brings: where to record (None: nowhere), the name under which a key arrives, and the folders
    # that a job uploads anyway.
    _encoder: Encoder
    _open_delivery: Callable[[], Delivery | None]
    _name: Callable[[str], str]
    _uploaded: tuple[Path, ...]

    @rank_zero_only
    def log_image(self, key: str, images: Any, step: int | None = None) -> None:
        """Show images under `key`.

        Args:
            key: the name in Studio.
            images: one or a list of: matplotlib figures, PIL images, paths, tensors (C, H, W) or (H, W), arrays
                (H, W, C) or (H, W); floats in [0, 1], integers in 0..255, bools black or white. C is 1 to 4.
            step: a part of the files' names; Studio orders the images of one name by time.

        Raises:
            ValueError: an image is none of these.
        """
        delivery, name = self._open_delivery(), self._name(key)
        if delivery is None or not self._encoder.claim(name):
            return
        images = list(images) if isinstance(images, list | tuple) else [images]
        for index, image in enumerate(images):
            suffix = f"-{index}.png" if len(images) > 1 else ".png"
            path = artifact_name(f"images/{key}", self._encoder.shifted(step), suffix)
            self._add_file(delivery, path, partial(save_image, image), image=name)

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

        A row that the table has already is not added again. Strings that are longer than a cell may be are cut.

        Raises:
            ValueError: neither is given, a row is of another length, or there are more columns than a table may have.
        """
        if dataframe is not None:
            columns, data = list(dataframe.columns), dataframe.to_numpy().tolist()
        if columns is None or data is None:
            raise ValueError(f"table {key!r} needs columns and data, or a dataframe")
        delivery = self._open_delivery()
        entry = table_entry(self._name(key), columns, data, self._encoder.shifted(step), self._encoder.limits)
        if delivery is not None and self._encoder.claim(entry["table"]):
            delivery.add("metrics", entry)

    @rank_zero_only
    def log_text(self, key: str, text: str, step: int | None = None) -> None:
        """Keep a text as a file of the run, `texts/<key>.txt`."""
        if (delivery := self._open_delivery()) is not None:
            path = artifact_name(f"texts/{key}", self._encoder.shifted(step), ".txt")
            self._add_file(delivery, path, lambda file: file.write_text(text, encoding="utf-8"))

    @rank_zero_only
    def log_confusion_matrix(self, key: str, matrix: Any, class_names: Sequence[str], step: int | None = None) -> None:
        """Draw a confusion matrix of counts, (true class, predicted class).

        Studio keeps one under each name: a second one gets the step, or a number, added to its own.

        Raises:
            ValueError: it is not square, or there are not as many names as classes.
        """
        if (delivery := self._open_delivery()) is None:
            return
        counts = np.asarray(_plain(matrix))
        if counts.shape != (len(class_names), len(class_names)):
            raise ValueError(f"confusion matrix {key!r} has shape {counts.shape} for {len(class_names)} class names")
        key = artifact_name(key)  # it names the artifact, too
        free = self._encoder.new_file(key)
        if free != key:
            key = free if step is None else f"{key}-step-{self._encoder.shifted(step)}"
        name = self._name(key)
        data = {"class_labels": [str(label) for label in class_names], "matrix": counts.tolist()}
        # https://learn.microsoft.com/python/api/azureml-core/azureml.core.run.run#azureml-core-run-run-log-confusion-matrix
        value = {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": data}
        if self._encoder.claim(name):
            delivery.add("media", {"confusion_matrix": name, "value": value})

    @rank_zero_only
    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file, such as the run's config, under its own name or `artifact_path`.

        What is uploaded is what the file holds now, though it may be deleted or overwritten later. What lies under
        `outputs/` or `logs/` in a job is left to the platform, which uploads it anyway.
        """
        delivery, path = self._open_delivery(), Path(path)
        if delivery is not None and not any(path.resolve().is_relative_to(folder) for folder in self._uploaded):
            self._add_file(delivery, artifact_name(artifact_path or path.name), partial(shutil.copyfile, path))

    def _add_file(self, delivery: Delivery, artifact: str, save: Callable[[Path], object], **entry: str) -> None:
        artifact = self._encoder.new_file(artifact)
        delivery.add_file(entry or {"file": artifact}, artifact, save)


def save_image(image: Any, path: Path) -> None:
    """Write any image that `log_image` takes as PNG."""
    if hasattr(image, "savefig"):
        image.savefig(path, format="png")
        return
    if isinstance(image, str | Path):
        image = Image.open(image)
    elif not isinstance(image, Image.Image):
        image = _to_pil(image)
    image.save(path, format="PNG")


def table_entry(
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    step: int | None = None,
    limits: Limits = V1_LIMITS,
) -> dict[str, Any]:
    """Return a table as an entry, with a column `step` if there is one.

    A column holds either finite numbers or strings, because the service fixes its type by the first value.
    """
    columns, table = [str(column) for column in columns], [list(row) for row in rows]
    if step is not None and "step" not in columns:
        columns, table = [*columns, "step"], [[*row, step] for row in table]
    if len(columns) > limits.columns:
        raise ValueError(f"table {name!r} has {len(columns)} columns, Azure ML takes {limits.columns}: leave some out")
    if any(len(row) != len(columns) for row in table):
        raise ValueError(f"table {name!r} has rows that are not as long as its {len(columns)} columns")
    typed = [_of_one_type([row[index] for row in table], limits.cell_length) for index in range(len(columns))]
    return {"table": name, "columns": columns, "rows": [list(row) for row in zip(*typed, strict=True)]}


def _to_pil(image: Any) -> Image.Image:
    from torchvision.transforms.functional import to_pil_image  # not for those who log no images

    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() else image  # numpy knows no bfloat16
        image = image.movedim(0, -1) if image.ndim == 3 else image
    pixels = np.asarray(image)
    if pixels.dtype.kind in "fb":
        pixels = np.nan_to_num(pixels.astype(float)) * 255
    return to_pil_image(pixels.clip(0, 255).round().astype(np.uint8))


def _of_one_type(cells: list[Any], length: int) -> list[Any]:
    numbers = [as_number(cell) for cell in cells]
    if all(number is not None and math.isfinite(number) for number in numbers):
        return numbers
    return [str(_plain(cell))[:length] for cell in cells]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
