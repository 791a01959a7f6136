"""Run history: experiments, runs, their status, tags, properties and events."""

import datetime
import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import RunRecord
from scripts.emulator.routes.queries import matches, ordered
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import State, now, signed
from scripts.emulator.tokens import job_token

HISTORY = f"/history/v1.0{WORKSPACE}"
_STATUSES = ("Queued", "Completed", "Failed", "Canceled", "CancelRequested")
# Fields of a run that mean nothing to the emulator, and are returned as they came.
_KEPT = ("description", "hidden", "scriptName", "primaryMetricName", "options", "name", "heartbeatEnabled", "runTypeV2")

routes = Routes("history", r".*\.api\.azureml\.ms|.*\.experiments\.azureml\.net")


def run_dto(state: State, run: RunRecord) -> dict[str, Any]:
    """Return a run as the service describes it."""
    root = state.runs[run.root] if run.root else run
    return run.extra | {
        "runNumber": run.number,
        "rootRunId": root.id,
        "experimentId": state.experiment_id(run.experiment),
        "createdUtc": run.created,
        "userId": "emulator",
        "createdBy": {"userName": "emulator"},
        "runId": run.id,
        "runUuid": str(uuid.uuid5(uuid.NAMESPACE_OID, run.id)),
        "rootRunUuid": str(uuid.uuid5(uuid.NAMESPACE_OID, root.id)),
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
        "warnings": [],
        "inputDatasets": [],
        "outputDatasets": [],
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
    return {
        "value": [_experiment_dto(state, name) for name in list(state.experiments)],
        "continuationToken": None,
    }


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


@routes("GET", HISTORY + "/runs/{run_id}")
@routes("GET", HISTORY + "/experiments/{experiment}/runs/{run_id}")
@routes("GET", HISTORY + "/experimentids/{experiment}/runs/{run_id}")
def get_run(state: State, request: Request, run_id: str, experiment: str = "") -> dict[str, Any]:
    """Return a run."""
    return run_dto(state, state.run(run_id))


@routes("PATCH", HISTORY + "/experiments/{experiment}/runs/{run_id}")
@routes("PATCH", HISTORY + "/experimentids/{experiment_id}/runs/{run_id}")
def patch_run(
    state: State, request: Request, run_id: str, experiment: str = "", experiment_id: str = ""
) -> dict[str, Any]:
    """Make a run or change it."""
    dto = request.json() or {}
    run = state.add_run(run_id, experiment or state.experiment_name(experiment_id))
    if parent := dto.get("parentRunId"):
        run.parent = parent
        run.root = state.run(parent).root or parent
    run.display_name = dto.get("displayName") or run.display_name
    run.target = dto.get("target") or run.target
    run.type = dto.get("runType") or run.type
    _merge_tags(run, dto.get("tags") or {})
    run.properties |= {key: str(value) for key, value in (dto.get("properties") or {}).items()}
    run.extra |= {key: dto[key] for key in _KEPT if dto.get(key) is not None}
    if dto.get("status") and dto["status"] != run.status:
        state.set_status(run, dto["status"])
    return run_dto(state, run)


# https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity#tags (per run)
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 50, 100, 1000


def _merge_tags(run: RunRecord, tags: dict[str, Any]) -> None:
    """Add tags.

    Raises:
        RefusalError: 400, over the service's limits.
    """
    merged = run.tags | {key: str(value) for key, value in tags.items()}
    if len(merged) > MAX_TAGS:
        raise RefusalError(400, "UserError", f"A run has at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if len(key) > MAX_TAG_KEY or len(str(value)) > MAX_TAG_VALUE:
            raise RefusalError(400, "UserError", f"Tag {key[:MAX_TAG_KEY]!r}: key or value is too long")
    run.tags = merged


@routes("DELETE", HISTORY + "/experiments/{experiment}/runs/{run_id}/tags")
def delete_tags(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Delete tags."""
    run = state.run(run_id)
    run.tags = {key: value for key, value in run.tags.items() if key not in (request.json() or [])}
    return run_dto(state, run)


@routes("GET", HISTORY + "/experiments/{experiment}/runs/{run_id}/children")
def children(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """List a run's children."""
    found = [run_dto(state, run) for run in state.runs.values() if run.parent == run_id]
    found = [run for run in found if matches(run, request.query.get("$filter"))]
    return {"value": ordered(found, request.query.get("$orderby")), "continuationToken": None}


@routes("GET", HISTORY + "/experiments/{experiment}/runs/{run_id}/details")
@routes("GET", HISTORY + "/experimentids/{experiment}/runs/{run_id}/details")
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


@routes("GET", HISTORY + "/experiments/{experiment}/runs/{run_id}/token")
@routes("GET", HISTORY + "/experimentids/{experiment}/runs/{run_id}/token")
def new_token(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Return a new token for a run."""
    state.run(run_id)
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
    return {"token": job_token(run_id, 12 * 3600), "expiryTimeUtc": expiry.isoformat()}


@routes("POST", HISTORY + "/experiments/{experiment}/runs/{run_id}/events")
@routes("POST", HISTORY + "/experimentids/{experiment}/runs/{run_id}/events")
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
