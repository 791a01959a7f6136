"""A run, and a datastore, through SDK v1 (azureml-core)."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import requests
from azureml._vendor.azure_storage.blob import ContentSettings
from azureml.core import Run

from scripts.azure.sdk_v1_errors import ask, explained
from scripts.azure.submitter import Curves, Point, RunDetails, StoredFile


class RunV1:
    """A submitted run; see `scripts.azure.submitter.RunHandle`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._addresses: dict[str, str] = {}
        self.id: str = run.id
        self.display_name: str = run.display_name or ""
        self.studio_url: str = run.get_portal_url()

    def details(self) -> RunDetails:
        """Return its state now."""
        details = ask(f"the state of run {self.id}, which goes on", self._run.get_details)
        self._addresses = details.get("logFiles") or {}
        error = (details.get("error") or {}).get("error") or {}
        times = (_time(details.get(key)) for key in ("startTimeUtc", "endTimeUtc"))
        return RunDetails(details["status"], error.get("message") or "", list(self._addresses), *times)

    def log(self, name: str, offset: int = 0) -> bytes:
        """Return a log that the latest `details` listed, from byte `offset` on; empty where nothing is new."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        get = partial(requests.get, self._addresses[name], headers=headers, timeout=30)
        answer = ask(f"the log of run {self.id}, which goes on", get)
        if answer.status_code == 206:
            return answer.content
        return answer.content[offset:] if answer.ok else b""

    def cancel(self) -> None:
        """Ask the platform to end it."""
        ask(f"cancelling run {self.id}", self._run.cancel)

    def metrics(self, names: Sequence[str] | None = None) -> Curves:
        """Return its scalar metrics, those of `names` or all.

        `Run.get_metrics` returns no steps; this asks as it does, one layer below.
        """
        client, what = self._run._client.metrics, f"the metrics of run {self.id}"
        there = set(ask(what, lambda: list(client.list_metric_names_for_run_id(self.id))))
        curves = {}
        for name in sorted(there if names is None else there & set(names)):
            series = ask(what, partial(client.get_metric_dto_for_run_v2, name, run_id=self.id))
            values = series.value if series is not None else ()
            numbers = [(value.step, value.data.get(name)) for value in values if isinstance(value.data, dict)]
            points = [Point(step, float(number)) for step, number in numbers if isinstance(number, int | float)]
            if points:
                curves[name] = sorted(points, key=lambda point: (point.step is None, point.step))
        return curves

    def files(self) -> list[str]:
        """Return the paths of its artifacts."""
        return list(ask(f"the files of run {self.id}", self._run.get_file_names))

    def download(self, folder: Path) -> None:
        """Copy its artifacts below `outputs/` into a folder, `outputs/` included."""
        with explained(f"the outputs of run {self.id}"):
            self._run.download_files(prefix="outputs/", output_directory=str(folder), append_prefix=True)

    def register_model(self, name: str, path: str) -> str:
        """Register an artifact as a model; return the model's version."""
        with explained(f"registering {path} of run {self.id}"):
            return str(self._run.register_model(name, model_path=path).version)


class DatastoreV1:
    """A datastore of the workspace; see `scripts.azure.submitter.Datastore`."""

    def __init__(self, datastore: Any) -> None:
        self.name: str = datastore.name
        self.is_blob_storage = hasattr(datastore, "blob_service")
        if self.is_blob_storage:
            self._container = datastore.blob_service.get_container_client(datastore.container_name)

    def holds(self, prefix: str) -> bool:
        """Return whether the path of any file begins with `prefix`."""
        with explained(f"the content of {self.name}:{prefix}"):
            return any(True for _ in self._container.list_blobs(name_starts_with=prefix, results_per_page=1))

    def files(self, prefix: str) -> dict[str, StoredFile]:
        """Return all files whose path begins with `prefix`."""
        with explained(f"the content of {self.name}:{prefix}"):
            blobs = list(self._container.list_blobs(name_starts_with=prefix))
        return {blob.name: StoredFile(blob.size, _md5(blob)) for blob in blobs}

    def upload(self, path: str, content: bytes, md5: bytes) -> None:
        """Write a file, over an existing one, and store its MD5: the service knows none of what comes in blocks."""
        settings = ContentSettings(content_type="application/octet-stream", content_md5=bytearray(md5))
        with explained(f"the upload to {self.name}:{path}; call it again to go on"):
            self._container.upload_blob(path, content, overwrite=True, content_settings=settings)


def _md5(blob: Any) -> bytes | None:
    md5 = blob.content_settings.content_md5
    return base64.b64decode(md5) if isinstance(md5, str) else bytes(md5) if md5 else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
