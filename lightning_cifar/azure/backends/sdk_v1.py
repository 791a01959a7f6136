"""Hands entries of a spool to the unmodified SDK, and counts what a flush confirmed.

Metrics go through the public `Run.log`. Three things have no public form and are taken from the SDK's metrics
client, as `Run.get_metrics` itself does: reading points back *with their steps*, hearing of each page of them (a
run may have millions), and the number of retries. A
retry inside the SDK would send a batch again whose answer was lost, and that batch may have been stored; here
nothing is sent twice before the service was asked what it has.
"""

import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from lightning_cifar.azure.limits import MAX_NAMES, MAX_ROWS
from lightning_cifar.azure.run import status_of

# A batch of 45 takes the service under a second; what takes longer has failed, and is asked for before it is
# resent.
FLUSH_SECONDS = 30
_FREE_NAMES = 20


class AnswerLostError(Exception):
    """A request failed; whether its metrics were stored is known only after reading them back."""


class Sender:
    """Sends entries to one run; made anew after every failure, so that it starts from what the service has.

    Args:
        run: the `azureml.core.Run`.
        folder: where the images and files lie that entries refer to.
        touch: called whenever the service has answered.
    """

    def __init__(self, run: Any, folder: Path, touch: Callable[[], None]) -> None:
        self._run = run
        self._folder = folder
        self._touch = touch
        self._client = run._client.metrics
        self._client.retries = 0
        ask = self._client._execute_with_workspace_run_arguments

        def ask_and_touch(*args: Any, **kwargs: Any) -> Any:
            answer = ask(*args, **kwargs)
            touch()
            return answer

        self._client._execute_with_workspace_run_arguments = ask_and_touch
        self._points: defaultdict[str, set[int]] = defaultdict(set)
        self._rows: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self._unread: set[str] = set()
        self._missing: list[str] = []
        self.left_out: set[str] = set()  # names for which the other processes of this run have left no room
        self._watch = _Watch()
        logging.getLogger("azureml").addHandler(self._watch)

    def read_back(self) -> None:
        """Learn which names the service has, and forget what it had of them: points are read when needed."""
        self._run.flush(timeout_seconds=FLUSH_SECONDS)
        self._unread = set(self._client.list_metric_names_for_run_id(self._run.id))
        self._points.clear()
        self._rows.clear()
        for name in self._unread:
            self._points[name] = set()

    def _read_series(self, name: str | None) -> None:
        """Learn which points and rows of a name the service has, unless that is known."""
        if name not in self._unread:
            return
        series = self._client.get_metric_dto_for_run_v2(name, run_id=self._run.id)
        for value in series.value if series is not None else ():
            if value.step is not None:
                self._points[name].add(int(value.step))
            else:
                self._rows[name].add(_row(value.data))
        self._unread.discard(name)

    def send(self, entries: Iterable[dict[str, Any]]) -> Counter[str]:
        """Send what the service lacks, flush, and return why some entries could not be sent: reason → number.

        Raises:
            Exception: what the SDK raises; nothing of `entries` may then be taken for sent, nor for lost.
        """
        unsendable: Counter[str] = Counter()
        handed_over = False
        entries = list(entries)
        for name in {_name(entry) for entry in entries if "skip" not in entry}:
            self._read_series(name)
        for entry in entries:
            reason = entry.get("skip") or self._limit(entry)
            if reason:
                unsendable[reason] += 1
            elif "metric" in entry:
                handed_over |= self._metric(entry)
            elif "table" in entry:
                handed_over |= self._table(entry)
            elif "image" in entry or "confusion_matrix" in entry:
                handed_over |= self._picture(entry)
            elif "file" in entry:
                self._upload(entry)
            elif "tags" in entry:
                self._run.set_tags(entry["tags"])
        if handed_over:
            self._run.flush(timeout_seconds=FLUSH_SECONDS)
        return unsendable

    def take_missing(self) -> list[str]:
        """Return, once, the artifacts whose files are neither on disk nor at the service."""
        missing, self._missing = self._missing, []
        return missing

    @property
    def token(self) -> str | None:
        """The job's token as the SDK has renewed it; None where another sign-in is used."""
        return getattr(self._run.experiment.workspace.service_context.get_auth(), "token", None)

    @property
    def rejected(self) -> list[str]:
        """What the service said to the metrics that it answered but did not take."""
        return self._watch.rejected

    def end(self, status: str, reason: str | None = None) -> None:
        """Give an interactive run its status, Completed, Failed or Canceled, unless it has a final one."""
        if self._run.get_status() in ("Completed", "Failed", "Canceled"):
            return
        if status == "Completed":
            self._run.complete()
        elif status == "Canceled":
            self._run.cancel()
        else:
            self._run.fail(error_details=reason)

    def _limit(self, entry: dict[str, Any]) -> str | None:
        name = _name(entry)
        if name is None or name in self._points or len(self._points) < MAX_NAMES:
            return None
        self.left_out.add(name)
        return f"over {MAX_NAMES} names"

    def _metric(self, entry: dict[str, Any]) -> bool:
        steps, step = self._points[entry["metric"]], entry["step"]
        if step in steps:
            return False
        steps.add(step)
        self._run.log(entry["metric"], entry["value"], step=step)
        return True

    def _table(self, entry: dict[str, Any]) -> bool:
        name, columns = entry["table"], entry["columns"]
        _ = self._points[name]
        missing = []
        for values in entry["rows"]:
            row = _row(dict(zip(columns, values, strict=True)))
            if row not in self._rows[name]:
                self._rows[name].add(row)
                missing.append(values)
        for start in range(0, len(missing), MAX_ROWS):
            rows = missing[start : start + MAX_ROWS]
            self._run.log_table(name, {c: [row[i] for row in rows] for i, c in enumerate(columns)})
            self._run.flush(timeout_seconds=FLUSH_SECONDS)
            self._touch()
        return False

    def _picture(self, entry: dict[str, Any]) -> bool:
        name = _name(entry)
        assert name is not None
        artifact = entry.get("path", name)
        if any(str(value).endswith("/" + artifact) for row in self._rows[name] for _, value in row):
            return False
        _ = self._points[name]
        if "image" not in entry:
            _under_a_free_name(name, lambda free: self._run.log_confusion_matrix(free, entry["value"]))
            return True
        path = self._folder / artifact

        def log_image(free: str) -> None:
            # The SDK makes the path, as given, the artifact's name: it is relative, and this is its folder.
            if free != artifact:
                shutil.copyfile(path, self._folder / free)
            try:
                self._run.log_image(name, path=free)
            finally:
                if free != artifact:
                    (self._folder / free).unlink()

        if not self._is_there(path, artifact):
            return False
        _under_a_free_name(artifact, log_image)
        return True

    def _upload(self, entry: dict[str, Any]) -> None:
        path = self._folder / entry["path"]
        if self._is_there(path, entry["file"]):
            _under_a_free_name(entry["file"], lambda free: self._run.upload_file(free, str(path)))

    def _is_there(self, path: Path, artifact: str) -> bool:
        """Whether a file is there to be sent; it is removed once it is sent."""
        if path.exists():
            return True
        if artifact not in self._run.get_file_names():
            self._missing.append(artifact)
        return False


class _Watch(logging.Handler):
    """Hears what the SDK's metrics client only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.rejected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "Failed to post metric" in message:
            self.rejected.append(message.strip())
        elif "retrying it after 3 seconds" in message:
            # Raised in the SDK's thread, this ends the task instead of sending the batch a second time;
            # `flush` raises it. A handler is the one place where the SDK can be stopped without changing it.
            raise AnswerLostError(" ".join(message.split("Reason for failure")[-1].split()))


def _under_a_free_name(name: str, upload: Callable[[str], object]) -> None:
    """Upload as `name`, or as `name-1` and so on where that is taken.

    An artifact cannot be replaced. Its name may have been taken by an attempt that then failed, with half of
    the content or none, or by the job before it was restarted.
    """
    path = PurePosixPath(name)
    for number in range(_FREE_NAMES):
        try:
            upload(name if number == 0 else str(path.with_name(f"{path.stem}-{number}{path.suffix}")))
            return
        except Exception as error:
            taken = status_of(error) == 409 or "already exists" in str(error)
            if not taken or number == _FREE_NAMES - 1:
                raise


def _row(data: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row in a form that compares equal after its way through the service: 1 may become 1.0."""
    return tuple(sorted((name, str(float(v)) if isinstance(v, int | float) else str(v)) for name, v in data.items()))


def _name(entry: dict[str, Any]) -> str | None:
    """Return the metric name that an entry takes up; files and tags take none."""
    for kind in ("metric", "table", "image", "confusion_matrix"):
        if kind in entry:
            return str(entry[kind])
    return None
