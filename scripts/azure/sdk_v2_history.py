"""What SDK v2 does not offer of runs, asked of the services behind it: states, logs, metrics, artifacts of any run.

`jobs.stream` fails where storage is opened by a signature, `jobs.download` wants the run to have ended, and metrics are
left to MLflow. Studio and SDK v1 read the same addresses, so runs of either SDK are found here.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from scripts.azure.blob_store import read_signed, save_signed
from scripts.azure.service_errors import ask
from scripts.azure.submitter import Curves, Point, RunDetails, as_details

_SCOPE = "https://ml.azure.com/.default"
_TOKEN = "continuationToken"
_OF_MLFLOW = ("next_page_token", "page_token")


class History:
    """The runs of a workspace, whose id as a resource is `scope`."""

    def __init__(self, credential: TokenCredential, host: str, scope: str, options: dict[str, Any]) -> None:
        self.scope, self._host = scope, host
        policies = [options["retry_policy"], BearerTokenCredentialPolicy(credential, _SCOPE)]
        self._client: Any = PipelineClient(f"https://{host}", policies=policies, **options)
        self._addresses: dict[str, str] = {}

    def experiments(self) -> list[str]:
        """Return the names of all experiments."""
        pages = self._query("the experiments of the workspace", "history/v1.0", "experiments:query")
        return [each["name"] for each in pages]

    def runs(self, experiment: str, number: int) -> list[dict[str, Any]]:
        """Return the latest runs of an experiment, at most `number`."""
        path = f"experiments/{quote(experiment)}/runs:query"
        query = {"top": number, "orderby": "CreatedUtc desc"}
        what = f"the runs of experiment {experiment}"
        return list(self._ask(what, "POST", "history/v1.0", path, query)["value"][:number])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return dict(self._ask(f"run {run_id}", "GET", "history/v1.0", f"runs/{quote(run_id)}"))

    def details(self, run_id: str) -> RunDetails:
        """Return the state of a run now."""
        what = f"the state of run {run_id}, which goes on"
        details = self._ask(what, "GET", "history/v1.0", f"runs/{quote(run_id)}/details")
        self._addresses = details.get("logFiles") or {}
        return as_details(details)

    def log(self, run_id: str, name: str, offset: int) -> bytes:
        """Return a log that the latest `details` listed, from byte `offset` on."""
        return read_signed(f"the log of run {run_id}, which goes on", self._addresses[name], offset)

    def metrics(self, run_id: str, names: Sequence[str] | None) -> Curves:
        """Return the scalar metrics of a run, those of `names` or all.

        Whether the points of MLflow and those of SDK v1 are kept together is not documented: a metric is asked of
        MLflow's service where that knows it, else of the other.
        """
        what, service = f"the metrics of run {run_id}", "metric/v2.0"
        run = self._mlflow(what, "runs/get", run_id=run_id)["run"]
        of_mlflow = {metric["key"] for metric in run["data"].get("metrics") or ()}
        listed = self._query(what, service, f"runs/{quote(run_id)}/list")
        there = of_mlflow | {key["metricKey"]["name"] for key in listed}
        curves = {}
        for name in sorted(there if names is None else there & set(names)):
            if name in of_mlflow:
                values = self._history_of(what, run_id, name)
                numbers = [(value.get("step", 0), value["value"]) for value in values]
            else:
                values = self._query(what, service, f"runs/{quote(run_id)}/full", metricName=name)
                numbers = [(value.get("step"), (value.get("data") or {}).get(name)) for value in values]
            points = [Point(step, float(number)) for step, number in numbers if isinstance(number, int | float)]
            if points:
                curves[name] = sorted(points, key=lambda point: (point.step is None, point.step))
        return curves

    def _history_of(self, what: str, run_id: str, name: str) -> Iterator[dict[str, Any]]:
        """Yield the points of a metric as MLflow's service has them."""
        query = {"run_id": run_id, "metric_key": name}
        pages = _pages(lambda token: self._mlflow(what, "metrics/get-history", **query, **token), *_OF_MLFLOW)
        return (point for page in pages for point in page.get("metrics") or ())

    def _mlflow(self, what: str, method: str, **query: str) -> Any:
        # In the form in which MLflow's client asks: the workspace, and the interface behind it.
        return self._ask(what, "GET", "mlflow/v2.0", f"api/2.0/mlflow/{method}", params=query)

    def artifacts(self, run_id: str, prefix: str = "") -> dict[str, str]:
        """Return the paths of a run's artifacts below `prefix`, each with an address that is signed for reading."""
        path = f"artifacts/prefix/contentinfo/ExperimentRun/dcid.{quote(run_id)}/{quote(prefix)}"
        what = f"the files of run {run_id}"
        pages = _pages(lambda token: self._ask(what, "GET", "artifact/v2.0", path, params=token))
        return {each["path"]: each["contentUri"] for page in pages for each in page["value"]}

    def download(self, run_id: str, prefix: str, folder: Path) -> None:
        """Copy the artifacts below `prefix` into a folder, their paths kept."""
        for path, address in self.artifacts(run_id, prefix).items():
            save_signed(f"{path} of run {run_id}", address, folder / path)

    def _query(self, what: str, service: str, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        pages = _pages(lambda token: self._ask(what, "POST", service, path, query | token))
        return (each for page in pages for each in page.get("value") or ())

    def _ask(self, what: str, method: str, service: str, path: str, json: Any = None, **options: Any) -> Any:
        """Return what a service of Azure ML answers about this workspace."""
        request = HttpRequest(method, f"https://{self._host}/{service}{self.scope}/{path}", json=json, **options)
        return ask(what, partial(self._answer, request))

    def _answer(self, request: HttpRequest) -> Any:
        answer = self._client.send_request(request)
        answer.raise_for_status()
        return answer.json()


def _pages(fetch: Callable[[dict[str, str]], Any], given: str = _TOKEN, sent: str = _TOKEN) -> Iterator[dict[str, Any]]:
    """Yield all pages of an answer; each but the last has `given`, a token to ask for the next one by, as `sent`."""
    page = fetch({})
    yield page
    while page.get(given):
        yield (page := fetch({sent: page[given]}))
