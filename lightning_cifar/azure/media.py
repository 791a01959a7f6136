"""Images, tables and matrices in the forms that Azure ML Studio shows, and names under which files may be uploaded."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightning_cifar.azure.backends import MAX_CELL_LENGTH, MAX_COLUMNS
from lightning_cifar.azure.encode import as_number


def artifact_name(path: str, step: int | None = None, suffix: str = "") -> str:
    """Return a name such as `images/val/samples-step-500.png`, of plain characters only.

    The SDK escapes any other twice, so that the content goes to another name than the service knows.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in path.split("/")]
    return "/".join(part for part in parts if part.strip(".")) + ("" if step is None else f"-step-{step}") + suffix


def save_image(image: Any, path: Path) -> None:
    """Write an image as PNG.

    Args:
        image: a matplotlib figure, a PIL image, a path, a tensor (C, H, W) or (H, W), or an array (H, W, C),
            (H, W) or (C, H, W); floats are in [0, 1], integers in 0..255, bools black or white. C is 1, 3 or 4.
        path: the file.

    Raises:
        ValueError: it is none of these.
    """
    if hasattr(image, "savefig"):
        image.savefig(path, format="png")
    elif isinstance(image, str | Path):
        with Image.open(image) as opened:
            opened.save(path, format="PNG")
    elif isinstance(image, Image.Image):
        image.save(path, format="PNG")
    else:
        Image.fromarray(_pixels(image)).save(path, format="PNG")


def table_entry(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], step: int | None = None
) -> dict[str, Any]:
    """Return a table as an entry, with a column `step` if there is one.

    A column holds either finite numbers or strings, because the service fixes its type by the first value;
    strings longer than `MAX_CELL_LENGTH` are cut.

    Raises:
        ValueError: more than `MAX_COLUMNS` columns, or a row of another length.
    """
    columns, table = [str(column) for column in columns], [list(row) for row in rows]
    if step is not None and "step" not in columns:
        columns, table = [*columns, "step"], [[*row, step] for row in table]
    if len(columns) > MAX_COLUMNS:
        raise ValueError(f"table {name!r} has {len(columns)} columns, Azure ML takes {MAX_COLUMNS}: leave some out")
    if any(len(row) != len(columns) for row in table):
        raise ValueError(f"table {name!r} has rows that are not as long as its {len(columns)} columns")
    typed = [_of_one_type([row[index] for row in table]) for index in range(len(columns))]
    return {"table": name, "columns": columns, "rows": [list(row) for row in zip(*typed, strict=True)]}


def confusion_matrix_entry(name: str, matrix: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """Return a confusion matrix (true class, predicted class) as an entry, in the schema that Studio draws.

    Raises:
        ValueError: it is not square, or there are not as many names as classes.
    """
    counts = np.asarray(_plain(matrix))
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"confusion matrix {name!r} has shape {counts.shape} for {len(class_names)} class names")
    data = {"class_labels": [str(label) for label in class_names], "matrix": counts.tolist()}
    # https://learn.microsoft.com/python/api/azureml-core/azureml.core.run.run#azureml-core-run-run-log-confusion-matrix
    value = {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": data}
    return {"confusion_matrix": name, "value": value}


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    is_tensor = hasattr(image, "detach")
    if is_tensor:
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() else image  # numpy knows no bfloat16
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and (is_tensor or pixels.shape[2] not in (1, 3, 4)):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise ValueError(f"an image of shape {tuple(np.shape(image))} is neither (C, H, W), (H, W, C) nor (H, W)")
    if pixels.dtype.kind in "fb":
        pixels = (np.nan_to_num(pixels.astype(float)) * 255).round()
    return np.ascontiguousarray(pixels.clip(0, 255)).astype(np.uint8)


def _of_one_type(cells: list[Any]) -> list[Any]:
    numbers = [as_number(cell) for cell in cells]
    if all(number is not None and math.isfinite(number) for number in numbers):
        return numbers
    return [str(_plain(cell))[:MAX_CELL_LENGTH] for cell in cells]


def _plain(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return value.tolist() if hasattr(value, "tolist") else value
