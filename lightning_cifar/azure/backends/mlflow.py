"""The backend for MLflow: Azure ML's tracking service, which jobs of SDK v2 log to, and any MLflow server.

What Studio draws for SDK v1 alone becomes files here: rows of a table `tables/NAME.json`, and more of them
`tables/NAME-1.json`; a confusion matrix `NAME.json`. Hyperparameters become MLflow's params.
"""

import filecmp
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from lightning_cifar.azure.backends import Point
from lightning_cifar.azure.backends.mlflow_service import MlflowService, ServiceError
from lightning_cifar.azure.backends.names import artifact_name, free_names, is_taken, mlflow_key
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.service_errors import http_status

# The most in one request.
MAX_METRICS = 1000
MAX_PARAMS = 100
_STATUSES = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
_HYPERPARAMETERS = "hyperparameters"


class Mlflow:
    """Sends to one run by MLflow's REST interface; see `Backend`."""

    def __init__(self, address: RunAddress, touch: Callable[[], None]) -> None:
        self._service = MlflowService(address, touch)
        self._touch = touch
        self._run_id = self._service.run_id(address)
        run = self._run()
        self.names: set[str] = {metric["key"] for metric in run["data"].get("metrics", ())}
        self._files = self._service.artifacts(run)

    @staticmethod
    def open_run(address: RunAddress, workspace: Any = None) -> Any:
        """Return an `MlflowClient`, with the run's id as `run_id`; start an interactive run that does not exist yet."""
        service = MlflowService(address, lambda: None)
        client: Any = service.client
        client.run_id = service.run_id(address)
        return client

    @property
    def token(self) -> str | None:
        """The job's token as azureml-mlflow has renewed it; None where another sign-in is used."""
        return self._service.token

    def points(self, name: str) -> Iterable[int]:
        """Return the steps at which the service has a value of a metric."""
        return self._service.steps(self._run_id, mlflow_key(name))

    def log(self, points: Sequence[Point]) -> list[str]:
        """Store points; return those that are out of bounds. A server refuses a request as a whole: this raises."""
        # With the entry's time, not the clock's: a server that keeps equal points once then sees an equal one.
        metrics: list[dict[str, Any]] = [
            {"key": mlflow_key(name), "value": value, "timestamp": int(seconds * 1000), "step": step}
            for name, step, value, seconds in points
            if abs(step) < 2**63
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            self._log_batch(metrics=metrics[start : start + MAX_METRICS])
        # A server of MLflow 3.15 answers 200 to such a step, and drops it and whatever stands behind it.
        return [f"{name}: step {step} is beyond MLflow's 64 bits" for name, step, *_ in points if abs(step) >= 2**63]

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
        """Add rows that a table lacks as a file; hyperparameters, as params; return what was refused of these."""
        if name.endswith(_HYPERPARAMETERS) and list(columns) == ["name", "value"]:
            return self._log_params({str(key): str(value) for key, value in rows})
        artifact = artifact_name(f"tables/{name}", suffix=".json")
        there = self._rows(artifact, columns)
        if missing := [row for row in rows if json.dumps(row) not in there]:
            self._upload_json(artifact, {"columns": list(columns), "data": missing})
        return []

    def image(self, name: str, artifact: str, folder: Path) -> None:
        """Upload the picture `folder / artifact`, unless it is there; Studio shows those of the run together."""
        self.upload(artifact, folder / artifact)

    def confusion_matrix(self, name: str, value: dict[str, Any]) -> None:
        """Upload a confusion matrix as `name.json`, unless it is there."""
        self._upload_json(artifact_name(name, suffix=".json"), value)

    def upload(self, artifact: str, file: Path) -> None:
        """Upload a file as an artifact, under another name if this one is taken by other content."""
        taken = set(self._list(str(PurePosixPath(artifact).parent)))
        for free in free_names(artifact):
            if free not in taken:
                try:
                    return self._send(free, file)
                except Exception as error:
                    if not is_taken(error):
                        raise
            elif self._holds(free, file):  # sent before, and the answer was lost
                return None
        raise AssertionError("names do not end")

    def artifacts(self) -> Sequence[str]:
        """Return the names of the run's artifacts."""
        return list(self._list("."))

    def download(self, artifact: str, file: Path) -> None:
        """Write the content of an artifact to a file."""
        self._files._download_file(artifact, str(file))  # `download_artifacts` loses the status of an error
        self._touch()

    def tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""
        for start in range(0, len(tags), MAX_PARAMS):
            part = list(tags.items())[start : start + MAX_PARAMS]
            self._log_batch(tags=[{"key": mlflow_key(key), "value": value} for key, value in part])

    def end(self, status: str, reason: str | None) -> None:
        """End the run as Completed, Failed or Canceled, unless it has ended."""
        if self._run()["info"]["status"] not in ("RUNNING", "SCHEDULED"):
            return
        if reason is not None:
            self.tags({"error": reason})
        now = int(time.time() * 1000)
        self._service.post("runs/update", run_id=self._run_id, status=_STATUSES[status], end_time=now)

    def _run(self) -> dict[str, Any]:
        run: dict[str, Any] = self._service.get("runs/get", run_id=self._run_id)["run"]
        return run

    def _log_batch(self, **content: list[dict[str, Any]]) -> None:
        self._service.post("runs/log-batch", run_id=self._run_id, **content)

    def _log_params(self, values: dict[str, str]) -> list[str]:
        """Set params that the run lacks; one that it has with another value cannot be changed, and becomes a tag."""
        there = {param["key"]: param["value"] for param in self._run()["data"].get("params", ())}
        wanted = {mlflow_key(name): value for name, value in values.items()}
        self.tags({key: value for key, value in wanted.items() if there.get(key, value) != value})
        params = [{"key": key, "value": value} for key, value in wanted.items() if key not in there]
        parts = (params[start : start + MAX_PARAMS] for start in range(0, len(params), MAX_PARAMS))
        return [refused for part in parts for refused in self._log_part(part)]

    def _log_part(self, params: list[dict[str, str]]) -> list[str]:
        """Set params by one request, singly where that is refused; return what was answered to those refused alone."""
        try:
            self._log_batch(params=params)
        except ServiceError as error:
            if error.status_code != 400:
                raise
            if len(params) == 1:
                return [f"{params[0]['key']}: {error}"]
            return [refused for param in params for refused in self._log_part([param])]
        return []

    def _rows(self, artifact: str, columns: Sequence[str]) -> set[str]:
        """Return the rows of a table that have these columns, from all of its files, as JSON."""
        path, rows = PurePosixPath(artifact), set()
        for name in self._list(str(path.parent)):
            if re.fullmatch(rf"{re.escape(path.stem)}(-\d+)?\.json", PurePosixPath(name).name):
                with TemporaryDirectory() as folder:
                    self.download(name, file := Path(folder, "table.json"))
                    table = json.loads(file.read_bytes())
                    if table["columns"] == list(columns):
                        rows |= {json.dumps(row) for row in table["data"]}
        return rows

    def _list(self, folder: str) -> Iterator[str]:
        """Yield the artifacts of a folder, of the run's root (".") with those of all folders below."""
        todo: list[str | None] = [None if folder == "." else folder]
        while todo:
            for found in self._files.list_artifacts(todo.pop()):
                if not found.is_dir:
                    yield found.path
                elif folder == ".":
                    todo.append(found.path)
            self._touch()

    def _send(self, artifact: str, file: Path) -> None:
        path = PurePosixPath(artifact)
        with TemporaryDirectory() as folder:
            link = Path(folder, path.name)  # the file's own name becomes the artifact's
            link.symlink_to(file.absolute())
            self._files.log_artifact(str(link), None if path.parent == PurePosixPath() else str(path.parent))
        self._touch()

    def _upload_json(self, artifact: str, value: Any) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder, "value.json")
            file.write_text(json.dumps(value))
            self.upload(artifact, file)

    def _holds(self, artifact: str, file: Path) -> bool:
        with TemporaryDirectory() as folder:
            try:
                self.download(artifact, copy := Path(folder, "copy"))
            except Exception as error:
                if http_status(error) == 404:  # its name is taken, and its content never came
                    return False
                raise
            return filecmp.cmp(copy, file, shallow=False)
