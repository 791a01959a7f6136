"""The part of AzureMLLogger that logs more than metrics: what Azure ML Studio shows natively, and files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.azure import media
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.encode import MetricBook


class StudioLogging:
    """Images, tables, texts, matrices and files, for a logger that has a journal and a book of names.

    Everything is written to disk here and sent by the forwarder. A name of an image, table or matrix counts
    among the run's 50 names; one too many is warned of like a metric's.
    """

    def _journal_and_book(self) -> tuple[Delivery | None, MetricBook]:
        """Return where to log (None: nowhere) and the names used so far."""
        raise NotImplementedError

    def _platform_uploads(self, path: Path) -> bool:
        """Whether the job uploads this file anyway."""
        raise NotImplementedError

    @rank_zero_only
    def log_image(self, key: str, images: Any, step: int | None = None) -> None:
        """Show images under `key`.

        Args:
            key: the name in Studio.
            images: one or a list of: figures, PIL images, paths, tensors (C, H, W), arrays (H, W, C); floats
                in [0, 1] or integers in 0..255.
            step: a part of the files' names; Studio orders the images of one name by time.
        """
        journal, book = self._journal_and_book()
        if journal is None or not book.claim(key):
            return
        step = book.step(step)
        images = media.as_list(images)
        for index, image in enumerate(images):
            suffix = f"-{index}.png" if len(images) > 1 else ".png"
            path = book.new_file(media.artifact_name("images", key, step, suffix))
            journal.add_file({"image": book.name(key)}, path, partial(media.save_image, image))

    @rank_zero_only
    def log_figure(self, key: str, figure: Any, step: int | None = None) -> None:
        """Show a figure of matplotlib's under `key`."""
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
        """Add rows to the table `key`: columns and data, or a pandas DataFrame; `step` is a column more.

        A row that the table has already is not added again.

        Raises:
            ValueError: neither is given, or the service has no room for so many columns.
        """
        if dataframe is not None:
            columns, data = list(dataframe.columns), dataframe.to_numpy().tolist()
        if columns is None or data is None:
            raise ValueError(f"table {key!r} needs columns and data, or a dataframe")
        journal, book = self._journal_and_book()
        entry = media.table_entry(book.name(key), columns, data, book.step(step))
        if journal is not None and book.claim(key):
            journal.add("metrics", entry)

    @rank_zero_only
    def log_text(self, key: str, text: str, step: int | None = None) -> None:
        """Keep a text as a file of the run, `texts/<key>.txt`."""
        journal, book = self._journal_and_book()
        if journal is not None:
            path = book.new_file(media.artifact_name("texts", key, book.step(step), ".txt"))
            journal.add_file({"file": path}, path, partial(media.save_text, text))

    @rank_zero_only
    def log_confusion_matrix(self, key: str, matrix: Any, class_names: Sequence[str], step: int | None = None) -> None:
        """Draw a confusion matrix of counts, (true class, predicted class).

        Studio keeps one under each name: a second one gets the step, or a number, added to its own.
        """
        journal, book = self._journal_and_book()
        if journal is None:
            return
        key = media.safe_name(key)  # it names the artifact, too
        other = book.new_file(key)
        if other != key:
            key = other if step is None else f"{key}-step-{book.step(step)}"
        entry = media.confusion_matrix_entry(book.name(key), matrix, class_names)
        if book.claim(key):
            journal.add("media", entry)

    @rank_zero_only
    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file, such as the run's config, under its own name or `artifact_path`.

        What lies under `outputs/` or `logs/` in a job is left to the platform, which uploads it anyway.
        """
        journal, book = self._journal_and_book()
        path = Path(path)
        if journal is not None and not self._platform_uploads(path):
            name = book.new_file(media.safe_name(artifact_path or path.name))
            journal.add_file({"file": name}, name, partial(media.copy_whole, path))
