"""The backend for azureml-core (SDK v1): `Run.log`, tables, pictures, uploads, tags, and reading points back.

The SDK's files are left as they are; inside the process that imports this module six things of it are changed, four
because a retry inside the SDK would send a batch again whose answer was lost, and that batch may have been stored:

- `run._client.metrics.retries`, the number of retries of the metrics client, is set to 0;
- `run._client.metrics._execute_with_workspace_run_arguments` is wrapped, to hear of each answer and to take what it
  holds page by page (a run may have millions of points);
- a handler on the logger `azureml` raises `AnswerLostError` in the SDK's thread where the SDK logs that it is about to
  send a batch a second time, which ends that task;
- `list_metric_names_for_run_id` and `get_metric_dto_for_run_v2` of the metrics client, which have no public form, read
  points back *with their steps*, as `Run.get_metrics` does without them;
- `client_side_validation` of its serializer is off: the SDK's models of metrics name no rule, and looking for one takes
  a sixth of the time that sending takes;
- `keep_alive` of its configuration is on while a backlog is sent: a connection for each request takes a quarter of it.
  Else it is off, because a connection that has been idle for minutes may be dead without a word.

All of it holds for azureml-core 1.61. With another version this module warns when it is imported, in `<record>.log`.
"""

import contextlib
import logging
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from azureml.core import Experiment, Run, Workspace

from lightning_cifar.azure.backends import Point
from lightning_cifar.azure.backends.names import free_names, is_taken
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.service_errors import http_status
from lightning_cifar.azure.steps import Steps

TESTED = "1.61"
# A batch of 45 takes the service under a second; what takes longer has failed, and is asked for before it is resent.
FLUSH_SECONDS = 30
# More for many: the SDK sends five batches at a time at least.
_POINTS_PER_SECOND = 200
# So many at a time are a backlog.
_BACKLOG = 1000
# Rows of a table in one request. It takes 250, which the SDK fills with up to 44 metrics beside a table's rows.
_MAX_ROWS = 200
_FREE_NAMES = 20

if not version("azureml-core").startswith(f"{TESTED}."):
    warnings.warn(
        f"azureml-core {version('azureml-core')} is not the version {TESTED} that AzureMLLogger was tested with: "
        f"if points are missing or there twice, pip install 'azureml-core=={TESTED}.*'",
        stacklevel=1,
    )


class AnswerLostError(Exception):
    """A request failed; whether its metrics were stored is known only after reading them back."""


class _Series(NamedTuple):
    """What the service has under one name."""

    steps: Steps
    rows: set[tuple[Any, ...]]

    def take(self, page: Any) -> None:
        """Add what a page of the service's answer holds, and leave nothing in it: a run may have millions of points."""
        for value in page.value or ():
            if value.step is not None:
                self.steps.add(int(value.step))
            else:
                self.rows.add(_row(value.data))
        page.value = []


class SdkV1:
    """Sends to one run with azureml-core; see `Backend`."""

    def __init__(self, address: RunAddress, touch: Callable[[], None]) -> None:
        self._run = self.open_run(address)
        touch()
        self._client = self._run._client.metrics
        self._client.retries = 0
        self._client._client._serialize.client_side_validation = False
        ask = self._client._execute_with_workspace_run_arguments

        def ask_and_touch(*args: Any, **kwargs: Any) -> Any:
            answer = ask(*args, **kwargs)
            touch()
            if self._reading is not None:
                self._reading.take(answer)
            return answer

        self._reading: _Series | None = None
        self._client._execute_with_workspace_run_arguments = ask_and_touch
        self._touch = touch
        self.names: set[str] = set(self._client.list_metric_names_for_run_id(self._run.id))
        self._unread = set(self.names)
        self._series: dict[str, _Series] = {}
        self._watch = _Watch()
        logging.getLogger("azureml").addHandler(self._watch)

    @staticmethod
    def open_run(address: RunAddress, workspace: Any = None) -> Any:
        """Return the `azureml.core.Run`; start an interactive run that does not exist yet."""
        if address.in_its_job:
            return Run.get_context(allow_offline=False)
        place = {"subscription_id": address.subscription_id, "resource_group": address.resource_group}
        workspace = workspace or Workspace.get(address.workspace, **place)
        try:
            return workspace.get_run(address.run_id)
        except Exception as error:
            if not address.interactive or http_status(error) != 404:
                raise
        # The SDK writes the address of the git remote of the current folder into the run's properties as it
        # stands, with any token in it: start the run from a folder that belongs to no repository.
        with contextlib.chdir("/"):
            experiment = Experiment(workspace, address.experiment)
            return experiment.start_logging(run_id=address.run_id, outputs=False, snapshot_directory=None)

    @property
    def token(self) -> str | None:
        """The job's token as the SDK has renewed it; None where another sign-in is used."""
        return getattr(self._run.experiment.workspace.service_context.get_auth(), "token", None)

    def points(self, name: str) -> Iterable[int]:
        """Return the steps at which the service has a value of a metric."""
        return self._read(name).steps

    def log(self, points: Sequence[Point]) -> list[str]:
        """Store points; return what the service answered to each that it refused for good."""
        for point in points:
            self._run.log(point.name, point.value, step=point.step)
        self._client._client.config.keep_alive = len(points) >= _BACKLOG
        try:
            return self._flush(FLUSH_SECONDS + len(points) / _POINTS_PER_SECOND)
        finally:
            self._client._client.config.keep_alive = False

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
        """Add rows that a table lacks; return what the service answered to those that it refused for good."""
        there = self._read(name).rows
        missing, refused = [], []
        for values in rows:
            row = _row(dict(zip(columns, values, strict=True)))
            if row not in there:
                there.add(row)
                missing.append(values)
        for start in range(0, len(missing), _MAX_ROWS):
            part = missing[start : start + _MAX_ROWS]
            self._run.log_table(name, {c: [row[i] for row in part] for i, c in enumerate(columns)})
            refused += self._flush()
            self._touch()
        return refused

    def image(self, name: str, artifact: str, folder: Path) -> None:
        """Show the picture `folder / artifact` under `name`, unless it is there."""
        if self._shows(name, artifact):
            return

        def log_image(free: str) -> None:
            # The SDK makes the path, as given, the artifact's name: it is relative to a folder of its own.
            with TemporaryDirectory() as current, contextlib.chdir(current):
                Path(free).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / artifact, free)
                self._run.log_image(name, path=free)

        _under_a_free_name(artifact, log_image)
        self._run.flush(timeout_seconds=FLUSH_SECONDS)

    def confusion_matrix(self, name: str, value: dict[str, Any]) -> None:
        """Show a confusion matrix under `name`, unless it is there."""
        if not self._shows(name, name):
            _under_a_free_name(name, lambda free: self._run.log_confusion_matrix(free, value))
            self._run.flush(timeout_seconds=FLUSH_SECONDS)

    def upload(self, artifact: str, file: Path) -> None:
        """Upload a file as an artifact, under another name if this one is taken."""
        _under_a_free_name(artifact, lambda free: self._run.upload_file(free, str(file)))

    def artifacts(self) -> Sequence[str]:
        """Return the names of the run's artifacts."""
        names: list[str] = self._run.get_file_names()
        return names

    def download(self, artifact: str, file: Path) -> None:
        """Write the content of an artifact to a file."""
        self._run.download_file(artifact, str(file))

    def tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""
        self._run.set_tags(tags)

    def end(self, status: str, reason: str | None) -> None:
        """End the run as Completed, Failed or Canceled, unless it has ended."""
        if self._run.get_status() in ("Completed", "Failed", "Canceled"):
            return
        if status == "Completed":
            self._run.complete()
        elif status == "Canceled":
            self._run.cancel()
        else:
            self._run.fail(error_details=reason)

    def _flush(self, seconds: float = FLUSH_SECONDS) -> list[str]:
        self._run.flush(timeout_seconds=seconds)
        # What the SDK keeps: whatever was logged, each answer, and a logger for each place in a queue of each length.
        self._client._metricid_values_dict.clear()
        self._client._task_queue_v2._results.clear()
        loggers = logging.Logger.manager.loggerDict
        for name in list(loggers):
            if name.startswith("azureml.BatchTaskQueueAdd_"):
                del loggers[name]
        refused, self._watch.refused = self._watch.refused, []
        return refused

    def _read(self, name: str) -> _Series:
        series = self._series.setdefault(name, _Series(Steps(), set()))
        if name in self._unread:
            self._reading = series
            self._client.get_metric_dto_for_run_v2(name, run_id=self._run.id)
            self._reading = None
            self._unread.discard(name)
        return series

    def _shows(self, name: str, artifact: str) -> bool:
        return any(str(value).endswith("/" + artifact) for row in self._read(name).rows for _, value in row)


class _Watch(logging.Handler):
    """Hears what the SDK's metrics client only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.refused: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "Failed to post metric" in message:
            self.refused.append(message.strip())
        elif "retrying it after 3 seconds" in message:
            # `flush` raises it. A handler is the one place where the SDK can be stopped without changing its code.
            raise AnswerLostError(" ".join(message.split("Reason for failure")[-1].split()))


def _under_a_free_name(name: str, upload: Callable[[str], object]) -> None:
    for number, free in enumerate(free_names(name), 1):
        try:
            upload(free)
            return
        except Exception as error:
            if not is_taken(error) or number == _FREE_NAMES:
                raise


def _row(data: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row in a form that compares equal after its way through the service: 1 may become 1.0."""
    return tuple(sorted((name, str(float(v)) if isinstance(v, int | float) else str(v)) for name, v in data.items()))
