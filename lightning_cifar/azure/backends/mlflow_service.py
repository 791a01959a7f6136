"""A connection to an MLflow service: Azure ML's (`azureml://…`, by azureml-mlflow) or any server's (`http://…`).

Requests go out by MLflow's own `http_request`, with the address and the sign-in that its store has, but not by the
store's methods: these repeat a request whose answer was lost, and their exceptions lose the HTTP status.
"""

import os

# Before the import: MLflow reports its use from a thread, draws bars of its own, and waits for minutes between retries.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.rest_utils import MlflowHostCreds, http_request

from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import seconds_since, shared_file
from lightning_cifar.files import atomic_write

TIMEOUT_SECONDS = 30
LATE_SECONDS = 30.0
"""So long after the request the service may still start a run whose answer was lost."""
ID_TAG = "lightning_cifar.run"
"""Tag that holds the id under which the logger knows an interactive run; MLflow's own it learns from the service."""
_MANAGEMENT = "https://management.azure.com"
# SDK v1's variables of a service principal → those of azure-identity, which azureml-mlflow signs in by.
_SIGN_IN = {"TENANT_ID": "AZURE_TENANT_ID", "ID": "AZURE_CLIENT_ID", "PASSWORD": "AZURE_CLIENT_SECRET"}


class ServiceError(Exception):
    """An answer that is an error: `status_code`, and the whole `response`."""

    def __init__(self, response: Any) -> None:
        try:
            body = response.json()
            said = body.get("error", body)
            text = f"{said.get('code') or said.get('error_code')}: {said.get('message')}"
        except (ValueError, AttributeError):
            text, body = response.text[:200], {}
        super().__init__(f"the service answered {response.status_code}: {text}")
        self.response, self.status_code = response, response.status_code
        if body.get("error_code") == "BAD_REQUEST":  # so a server names what went wrong in its database: it may pass
            self.status_code = 503


class MlflowService:
    """A connection; made anew after a fork, because a thread of azureml-mlflow renews the token.

    Args:
        address: a run, which names the service.
        touch: called whenever the service has answered.
    """

    def __init__(self, address: RunAddress, touch: Callable[[], None]) -> None:
        for old, new in _SIGN_IN.items():
            if value := os.environ.get(f"AZUREML_SERVICE_PRINCIPAL_{old}"):
                os.environ.setdefault(new, value)
        self._touch = touch
        self.uri = address.tracking_uri or _tracking_uri(address)
        mlflow.set_tracking_uri(self.uri)  # azureml-mlflow looks for its sign-in there when it sends files
        self.client = mlflow.MlflowClient(self.uri)
        self._store = self.client._tracking_client.store

    @property
    def token(self) -> str | None:
        """The job's token as azureml-mlflow has renewed it; None where another sign-in is used."""
        context = getattr(self._store, "service_context", None)
        return getattr(getattr(context, "auth", None), "token", None)

    def get(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """Ask for something; `endpoint` is such as "runs/get".

        Raises:
            ServiceError: the answer is an error.
        """
        return self._call(endpoint, "GET", params=params)

    def post(self, endpoint: str, **content: Any) -> dict[str, Any]:
        """Send something, once.

        Raises:
            ServiceError: the answer is an error.
        """
        return self._call(endpoint, "POST", json=content)

    def steps(self, run_id: str, key: str) -> Iterator[int]:
        """Yield the steps of a metric's points, asking for them page by page."""
        page: dict[str, str] = {}
        while True:
            answer = self.get("metrics/get-history", run_id=run_id, metric_key=key, max_results=25_000, **page)
            yield from (int(metric.get("step", 0)) for metric in answer.get("metrics", ()))
            if not (token := answer.get("next_page_token")):
                return
            page = {"page_token": token}

    def run_id(self, address: RunAddress) -> str:
        """Return the service's own id of a run; start an interactive one that does not exist yet.

        The service gives a new run an id only in its answer, which may be lost; so it is looked for by a tag before it
        is started. Only one process at a time does so, and those of this machine hand on what they have learned.
        """
        if not address.interactive:
            return address.run_id
        with contextlib.ExitStack() as stack:
            try:
                known = shared_file(address, "mlflow-run")
                stack.enter_context(FileLock(f"{known}.lock"))
            except OSError:  # each relay goes on alone
                return self._find_run(address) or self._start_run(address)
            if not known.exists():
                asked = known.with_name(f"{known.name}-asked")
                if asked.exists():
                    time.sleep(max(0.0, LATE_SECONDS - seconds_since(float(asked.read_text() or time.monotonic()))))
                run_id = self._find_run(address)
                if run_id is None:
                    asked.write_text(str(time.monotonic()))
                    run_id = self._start_run(address)
                with atomic_write(known) as file:
                    file.write(run_id.encode())
            return known.read_text()

    def artifacts(self, run: dict[str, Any]) -> ArtifactRepository:
        """Return what sends and reads the files of a run, as `runs/get` describes it."""
        return get_artifact_repository(run["info"]["artifact_uri"], tracking_uri=self.uri)

    def _find_run(self, address: RunAddress) -> str | None:
        wanted = f"tags.`{ID_TAG}` = '{address.run_id}'"
        found = self.post("runs/search", experiment_ids=[self._experiment_id(address.experiment)], filter=wanted)
        return next((str(run["info"]["run_id"]) for run in found.get("runs", ())), None)

    def _start_run(self, address: RunAddress) -> str:
        answer = self.post(
            "runs/create",
            experiment_id=self._experiment_id(address.experiment),
            run_name=address.run_id,
            start_time=int(time.time() * 1000),
            tags=[{"key": ID_TAG, "value": address.run_id}],
        )
        return str(answer["run"]["info"]["run_id"])

    def _experiment_id(self, name: str) -> str:
        try:
            return str(self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
        except ServiceError as error:
            if error.status_code != 404:
                raise
        return str(self.post("experiments/create", name=name)["experiment_id"])

    def _call(self, endpoint: str, method: str, **content: Any) -> dict[str, Any]:
        answer = _send(self._store.get_host_creds(), f"/api/2.0/mlflow/{endpoint}", method, **content)
        self._touch()
        return answer


def _send(credentials: MlflowHostCreds, path: str, method: str, **content: Any) -> dict[str, Any]:
    options = {"max_retries": 0, "raise_on_status": False, "timeout": TIMEOUT_SECONDS}
    response = http_request(credentials, path, method, **options, **content)
    if response.status_code >= 400:
        raise ServiceError(response)
    answer: dict[str, Any] = response.json()
    return answer


def _tracking_uri(address: RunAddress) -> str:
    """Ask Azure for the tracking URI of a workspace, which holds its region."""
    from azure.identity import DefaultAzureCredential

    path = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}"
    token = DefaultAzureCredential().get_token(f"{_MANAGEMENT}/.default").token
    credentials = MlflowHostCreds(_MANAGEMENT, token=token)
    place = address.subscription_id, address.resource_group, address.workspace
    found = _send(credentials, path.format(*place), "GET", params={"api-version": "2023-04-01"})
    return str(found["properties"]["mlFlowTrackingUri"]).split("?")[0]
