"""Run history: experiments, runs, their status, tags, properties and events."""

import datetime
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import RunRecord
from scripts.emulator.routes.queries import matches, ordered
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import State, now, signed
from scripts.emulator.tokens import jwt

HISTORY = f"/history/v1.0{WORKSPACE}"
RUN = HISTORY + "/experiments/{experiment}/runs/{run_id}"
RUN_BY_ID = HISTORY + "/experimentids/{experiment}/runs/{run_id}"
_STATUSES = ("Queued", "Completed", "Failed", "Canceled", "CancelRequested")
# Fields of a run that mean nothing to the emulator, and are returned as they came.
_KEPT = ("description", "hidden", "scriptName", "primaryMetricName", "options", "name", "heartbeatEnabled", "runTypeV2")

# https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity#tags (per run)
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 50, 100, 1000

routes = Routes("history", SERVICES)


def run_dto(state: State, run: RunRecord) -> dict[str, Any]:
    """Return a run as the service describes it."""
    return run.extra | {
        "runNumber": run.number,
        "rootRunId": run.root or run.id,
        "experimentId": state.experiment_id(run.experiment),
        "createdUtc": run.created,
        "createdBy": {"userName": "emulator"},
        "runId": run.id,
        "parentRunId": run.parent,
        "status": run.status,
        "startTimeUtc": run.started,
        "endTimeUtc": run.ended,
        "displayName": run.display_name,
        "dataContainerId": run.container,
        "runType": run.type,
        "target": run.target,
        "tags": run.tags,
        "properties": run.properties,
        "error": run.error,
    }


def _experiment_dto(state: State, name: str) -> dict[str, Any]:
    return {"experimentId": state.experiment_id(name), "name": name, "createdUtc": now(), "tags": {}}


@routes("GET", HISTORY + "/experiments/{experiment}")
def get_experiment(state: State, request: Request, experiment: str) -> dict[str, Any]:
    """Return an experiment that exists."""
    if experiment not in state.experiments:
        raise RefusalError(404, "UserError", f"Experiment {experiment} not found")
    return _experiment_dto(state, experiment)


@routes("POST", HISTORY + "/experiments/{experiment}")
def create_experiment(state: State, request: Request, experiment: str) -> dict[str, Any]:
    """Make an experiment."""
    return _experiment_dto(state, experiment)


@routes("GET", HISTORY + "/experimentids/{experiment_id}")
def get_experiment_by_id(state: State, request: Request, experiment_id: str) -> dict[str, Any]:
    """Return an experiment that exists."""
    return _experiment_dto(state, state.experiment_name(experiment_id))


@routes("POST", HISTORY + "/experiments:query")
def query_experiments(state: State, request: Request) -> dict[str, Any]:
    """List all experiments."""
    return {"value": [_experiment_dto(state, name) for name in state.experiments], "continuationToken": None}


@routes("POST", HISTORY + "/experiments/{experiment}/runs:query")
def query_runs(state: State, request: Request, experiment: str) -> dict[str, Any]:
    """List the runs of an experiment that pass the filter, in the order asked for, a page at a time."""
    wanted = (request.json() or {}) | request.query
    runs = [run_dto(state, run) for run in state.runs.values() if run.experiment == experiment]
    runs = [run for run in reversed(runs) if matches(run, wanted.get("filter"))]  # newest first by default
    runs = ordered(runs, wanted.get("orderby"))
    first = int(wanted.get("continuationToken") or 0)
    size = int(wanted.get("top") or wanted.get("$top") or 500)
    more = first + size < len(runs)
    return {"value": runs[first : first + size], "continuationToken": str(first + size) if more else None}


@routes("GET", HISTORY + "/runs/{run_id}", RUN, RUN_BY_ID)
def get_run(state: State, request: Request, run_id: str, experiment: str = "") -> dict[str, Any]:
    """Return a run."""
    return run_dto(state, state.run(run_id))


@routes("PATCH", RUN, HISTORY + "/experimentids/{experiment_id}/runs/{run_id}")
def patch_run(state: State, request: Request, run_id: str, experiment: str = "", **by_id: str) -> dict[str, Any]:
    """Make a run or change it."""
    dto = request.json() or {}
    run = state.add_run(run_id, experiment or state.experiment_name(by_id["experiment_id"]))
    if parent := dto.get("parentRunId"):
        run.parent = parent
        run.root = state.run(parent).root or parent
    run.display_name = dto.get("displayName") or run.display_name
    run.target = dto.get("target") or run.target
    run.type = dto.get("runType") or run.type
    tags = {key: str(value) for key, value in (dto.get("tags") or {}).items()}
    too_long = any(len(key) > MAX_TAG_KEY or len(value) > MAX_TAG_VALUE for key, value in tags.items())
    if too_long or len(run.tags | tags) > MAX_TAGS:
        limits = f"{MAX_TAGS} tags, with keys of {MAX_TAG_KEY} and values of {MAX_TAG_VALUE} characters"
        raise RefusalError(400, "UserError", f"A run has at most {limits}")
    run.tags |= tags
    run.properties |= {key: str(value) for key, value in (dto.get("properties") or {}).items()}
    run.extra |= {key: dto[key] for key in _KEPT if dto.get(key) is not None}
    if dto.get("status") and dto["status"] != run.status:
        state.set_status(run, dto["status"])
    return run_dto(state, run)


@routes("DELETE", RUN + "/tags")
def delete_tags(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Delete tags."""
    run = state.run(run_id)
    run.tags = {key: value for key, value in run.tags.items() if key not in (request.json() or [])}
    return run_dto(state, run)


@routes("GET", RUN + "/children")
def children(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """List a run's children."""
    found = [run_dto(state, run) for run in state.runs.values() if run.parent == run_id]
    found = [run for run in found if matches(run, request.query.get("$filter"))]
    return {"value": ordered(found, request.query.get("$orderby")), "continuationToken": None}


@routes("GET", RUN + "/details", RUN_BY_ID + "/details")
def details(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Return status, run definition, and the addresses of the log files."""
    run = state.run(run_id)
    paths = state.artifacts.get(("ExperimentRun", run.container), [])
    logs = [path for path in paths if path.startswith(("user_logs/", "azureml-logs/", "logs/", "system_logs/"))]
    return run_dto(state, run) | {
        "runDefinition": run.definition,
        "services": {},
        "logFiles": {path: signed("azureml", f"ExperimentRun/{run.container}/{path}") for path in sorted(logs)},
    }


@routes("GET", RUN + "/token", RUN_BY_ID + "/token")
def new_token(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Return a new token for a run."""
    state.run(run_id)
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
    return {"token": jwt(12 * 3600, runid=run_id, role="Contributor"), "expiryTimeUtc": expiry.isoformat()}


@routes("POST", RUN + "/events", RUN_BY_ID + "/events")
def post_event(state: State, request: Request, experiment: str, run_id: str) -> None:
    """Record an event, which may change the run's status."""
    event = request.json()
    kind = event["name"].rsplit(".", 1)[-1]
    run = state.run(run_id)
    run.events.append(kind)
    if kind == "Error":
        run.error = event["data"].get("ErrorResponse")
    if kind == "Start":
        state.set_status(run, "Running")
    elif kind in _STATUSES:
        state.set_status(run, kind)
