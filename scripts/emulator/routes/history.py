"""Run history: experiments, runs, their status, tags, properties and events."""

import datetime
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import RunRecord
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import State, now, signed
from scripts.emulator.tokens import jwt

HISTORY = f"/history/v1.0{WORKSPACE}"
RUN = HISTORY + "/experiments/{experiment}/runs/{run_id}"
RUN_BY_ID = HISTORY + "/experimentids/{experiment}/runs/{run_id}"
_STATUSES = ("Queued", "Completed", "Failed", "Canceled", "CancelRequested")
# Fields of a run that mean nothing to the emulator, and are returned as they came.
_KEPT = ("description", "hidden", "scriptName", "primaryMetricName", "options", "name", "heartbeatEnabled", "runTypeV2")

routes = Routes("history", SERVICES)


def run_dto(state: State, run: RunRecord) -> dict[str, Any]:
    """Return a run as the service describes it."""
    return run.extra | {
        "runNumber": run.number,
        "rootRunId": run.parent or run.id,
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
    """List the runs of an experiment that have no parent, all of them, newest first."""
    if (asked := (request.json() or {}).get("filter")) not in (None, "(ParentRunId eq null)"):
        raise ValueError(f"the emulator does not filter runs by {asked!r}")
    runs = [run for run in state.runs.values() if run.experiment == experiment and run.parent is None]
    return {"value": [run_dto(state, run) for run in reversed(runs)], "continuationToken": None}


@routes("GET", HISTORY + "/runs/{run_id}", RUN, RUN_BY_ID)
def get_run(state: State, request: Request, run_id: str, experiment: str = "") -> dict[str, Any]:
    """Return a run."""
    return run_dto(state, state.run(run_id))


@routes("PATCH", RUN, HISTORY + "/experimentids/{experiment_id}/runs/{run_id}")
def patch_run(state: State, request: Request, run_id: str, experiment: str = "", **by_id: str) -> dict[str, Any]:
    """Make a run or change it."""
    dto = request.json() or {}
    run = state.add_run(run_id, experiment or state.experiment_name(by_id["experiment_id"]))
    run.parent = dto.get("parentRunId") or run.parent
    run.display_name = dto.get("displayName") or run.display_name
    run.target = dto.get("target") or run.target
    run.type = dto.get("runType") or run.type
    run.tags |= {key: str(value) for key, value in (dto.get("tags") or {}).items()}
    run.properties |= {key: str(value) for key, value in (dto.get("properties") or {}).items()}
    run.extra |= {key: dto[key] for key in _KEPT if dto.get(key) is not None}
    if dto.get("status") and dto["status"] != run.status:
        state.set_status(run, dto["status"])
    return run_dto(state, run)


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
    if kind == "Error":
        run.error = event["data"].get("ErrorResponse")
    if kind == "Start":
        state.set_status(run, "Running")
    elif kind in _STATUSES:
        state.set_status(run, kind)
