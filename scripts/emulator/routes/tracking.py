"""MLflow's REST interface, as Azure ML serves it to azureml-mlflow; a point that comes twice is kept twice."""

import datetime
import re
import time
import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import Metric, MetricSeries, RunRecord
from scripts.emulator.routes.management import API
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import ISO, State

TRACKING = f"/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow"
# mlflow/utils/validation.py, which Azure ML's service is taken to share
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_KEY_LENGTH = 250
_KEY = re.compile(r"(?!/)(?!.*//)[\w\-. :/]+(?<!/)")
_PAGE = 5_000
_SCALAR = "azureml.v1.scalar"
_STATUSES = {"Running": "RUNNING", "Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
_SINGLE = {"log-metric": "metrics", "log-parameter": "params", "set-tag": "tags"}
_FILTER = re.compile(r"tags\.`([^`]+)` = '([^']*)'")

routes = Routes("tracking", SERVICES)


def job_variables(state: State, run_id: str, token: str) -> dict[str, str]:
    """Return the variables by which azureml-mlflow finds a job's run; a job of SDK v2 has them beside v1's."""
    run = state.run(run_id)
    return {
        "MLFLOW_TRACKING_URI": tracking_uri(state),
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_ID": state.experiment_id(run.experiment),
        "MLFLOW_EXPERIMENT_NAME": run.experiment,
    }


def tracking_uri(state: State) -> str:
    """Return the tracking URI of the workspace."""
    return f"{API}/mlflow/v1.0{state.workspace.scope}".replace("https:", "azureml:")


@routes("GET", TRACKING + "/experiments/get-by-name", TRACKING + "/experiments/get")
def get_experiment(state: State, request: Request) -> dict[str, Any]:
    """Return an experiment that exists, by its name or id."""
    name = request.query.get("experiment_name") or state.experiment_name(request.query["experiment_id"])
    if name not in state.experiments:
        raise RefusalError(404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name {name}")
    return {"experiment": {"experiment_id": state.experiment_id(name), "name": name, "lifecycle_stage": "active"}}


@routes("POST", TRACKING + "/experiments/create")
def create_experiment(state: State, request: Request) -> dict[str, Any]:
    """Make an experiment."""
    name = request.json()["name"]
    if name in state.experiments:
        raise RefusalError(400, "RESOURCE_ALREADY_EXISTS", f"Experiment {name} already exists")
    return {"experiment_id": state.experiment_id(name)}


@routes("POST", TRACKING + "/runs/create")
def create_run(state: State, request: Request) -> dict[str, Any]:
    """Make a run under an id of the service's."""
    wanted = request.json()
    run = state.add_run(str(uuid.uuid4()), state.experiment_name(str(wanted["experiment_id"])))
    state.set_status(run, "Running")
    run.display_name = wanted.get("run_name") or run.id
    run.tags |= {tag["key"]: tag["value"] for tag in wanted.get("tags", ())}
    return {"run": _run(state, run)}


@routes("GET", TRACKING + "/runs/get")
def get_run(state: State, request: Request) -> dict[str, Any]:
    """Return a run."""
    return {"run": _run(state, state.run(request.query["run_id"]))}


@routes("POST", TRACKING + "/runs/search")
def search_runs(state: State, request: Request) -> dict[str, Any]:
    """List the runs of experiments that have a tag."""
    wanted = request.json()
    tag = _FILTER.fullmatch(wanted.get("filter") or "tags.`` = ''")
    if tag is None:
        raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"The emulator cannot read {wanted['filter']!r}")
    runs = [run for run in state.runs.values() if state.experiment_id(run.experiment) in wanted["experiment_ids"]]
    return {"runs": [_run(state, run) for run in runs if not tag[1] or run.tags.get(tag[1]) == tag[2]]}


@routes("POST", TRACKING + "/runs/update")
def update_run(state: State, request: Request) -> dict[str, Any]:
    """Change a run's status or name."""
    wanted = request.json()
    run = state.run(wanted["run_id"])
    run.display_name = wanted.get("run_name") or run.display_name
    if status := {ours: own for own, ours in _STATUSES.items()}.get(wanted.get("status")):
        state.set_status(run, status)
    return {"run_info": _run(state, run)["info"]}


@routes("GET", TRACKING + "/metrics/get-history")
def get_history(state: State, request: Request) -> dict[str, Any]:
    """Return a metric's points, a page at a time; of a metric that nobody has logged, none."""
    series = state.run(request.query["run_id"]).metrics.get(request.query["metric_key"])
    points = [_point(value) for value in series.values if value.step is not None] if series is not None else []
    first = int(request.query.get("page_token") or 0)
    size = min(int(request.query.get("max_results") or _PAGE), _PAGE)
    page: dict[str, Any] = {"metrics": points[first : first + size]}
    return page | ({"next_page_token": str(first + size)} if first + size < len(points) else {})


@routes("POST", *(f"{TRACKING}/runs/{name}" for name in ("log-batch", *_SINGLE)))
def log(state: State, request: Request) -> dict[str, Any]:
    """Store metrics, params and tags, or one of these: all of them, or none where one is refused."""
    wanted = request.json()
    run, kind = state.run(wanted["run_id"]), _SINGLE.get(request.path.rpartition("/")[2])
    batch = {kind: [wanted]} if kind else wanted
    metrics, params, tags = (batch.get(each) or [] for each in ("metrics", "params", "tags"))
    if len(metrics) > MAX_METRICS or len(params) > MAX_PARAMS or len(tags) > MAX_PARAMS:
        raise _refusal(f"a request takes {MAX_METRICS} metrics, {MAX_PARAMS} params and {MAX_PARAMS} tags")
    known = {param["key"]: param["value"] for param in run.extra.get("params", ())}
    for entry in (*metrics, *params, *tags):
        key = entry["key"]
        if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
            raise _refusal(f"Invalid value {key[:300]!r} for a name")
    for param in params:
        if known.get(param["key"], param["value"]) != param["value"]:
            raise _refusal(f"Changing param values is not allowed: {param['key']!r}")
    for metric in metrics:
        if type(metric.get("step", 0)) is not int or not isinstance(metric["value"], int | float):
            raise _refusal(f"Invalid value for a metric: {metric}")
    for metric in metrics:
        name, value = metric["key"], float(metric["value"])
        created = datetime.datetime.fromtimestamp(metric["timestamp"] / 1000, datetime.UTC).strftime(ISO)
        series = run.metrics.setdefault(name, MetricSeries({name: "Double"}, _SCALAR))
        identity, arrived = str(uuid.uuid4()), request.arrived
        point = Metric(name, metric.get("step", 0), value, arrived, {name: value}, identity, _SCALAR, created)
        series.values.append(point)
    known |= {param["key"]: param["value"] for param in params}
    run.extra["params"] = [{"key": key, "value": value} for key, value in known.items()]
    run.tags |= {tag["key"]: tag["value"] for tag in tags}
    return {}


def _refusal(message: str) -> RefusalError:
    return RefusalError(400, "INVALID_PARAMETER_VALUE", message)


def _point(value: Metric) -> dict[str, Any]:
    return {"key": value.name, "value": value.value, "timestamp": _milliseconds(value.created), "step": value.step}


def _milliseconds(stamp: str | None) -> int:
    return int(datetime.datetime.fromisoformat(stamp).timestamp() * 1000) if stamp else int(time.time() * 1000)


def _run(state: State, run: RunRecord) -> dict[str, Any]:
    experiment = state.experiment_id(run.experiment)
    scope = tracking_uri(state).replace("/v1.0/", "/v2.0/")
    info = {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.display_name,
        "experiment_id": experiment,
        "status": _STATUSES.get(run.status, "SCHEDULED"),
        "start_time": _milliseconds(run.started or run.created),
        "end_time": _milliseconds(run.ended) if run.ended else None,
        "artifact_uri": f"{scope}/experiments/{experiment}/runs/{run.id}/artifacts",
        "lifecycle_stage": "active",
    }
    latest = [_point(series.values[-1]) for series in run.metrics.values() if series.values[-1].step is not None]
    tags = [{"key": key, "value": value} for key, value in run.tags.items()]
    return {
        "info": info,
        "data": {"metrics": latest, "params": run.extra.get("params", []), "tags": tags},
        "inputs": {},
    }
