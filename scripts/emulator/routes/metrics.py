"""Metrics: batches come in, lists and whole series go out."""

import datetime
import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.records import Metric, MetricSeries, RunRecord
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import ISO, State, now

# https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity#metrics
MAX_NAMES = 50
MAX_NAME_LENGTH = 255
MAX_VALUES = 1_000_000
MAX_COLUMNS = 15
MAX_ROWS_PER_BATCH = 250
_PAGE = 5_000

routes = Routes("metrics", SERVICES)


@routes("POST", f"/metric/v2.0{WORKSPACE}/runs/{{run_id}}/batch")
def post_batch(state: State, request: Request, run_id: str) -> Response:
    """Store a batch; values over a limit are reported and leave their neighbours alone."""
    dtos = request.json()["values"]
    most = max((len(dto.get("value") or []) for dto in dtos), default=0)
    if most > MAX_ROWS_PER_BATCH:
        # The service's words, as quoted in https://github.com/mlflow/mlflow/issues/11462.
        field = f"FieldName=MetricV2Dto.Value/Count, Limit={MAX_ROWS_PER_BATCH}, Size={most}"
        raise RefusalError(400, "ValidationError", f"A field of the entity is over the size limit. {field}.")
    errors = []
    run = state.run(run_id)
    for dto in dtos:
        if problem := _store(state, run, dto, request.arrived):
            errors.append({"metric": dto, "errorResponse": {"error": {"code": "UserError", "message": problem}}})
    return Response.of({"errors": errors}, 207 if errors else 200)


def _store(state: State, run: RunRecord, dto: dict[str, Any], arrived: float) -> str:
    """Store the values of one metric; return what is wrong with it.

    A value that arrives twice is kept twice: whether Azure ML looks at the ids of values is not documented.
    """
    name, values = dto["name"], dto.get("value") or []
    columns = dto.get("columns") or {}
    kind = (dto.get("properties") or {}).get("uxMetricType") or ""
    series = run.metrics.get(name) or MetricSeries(columns, kind)
    steps = [value.get("step") for value in values] + [known.step for known in series.values[:1]]
    names = {*run.metrics, name}
    problems = {
        f"Metric name is longer than {MAX_NAME_LENGTH} characters": len(name) > MAX_NAME_LENGTH,
        f"Run has more than {MAX_NAMES} metric names: {name!r} is not stored": len(names) > MAX_NAMES,
        f"Metric {name!r} has more than {MAX_COLUMNS} columns": len(columns) > MAX_COLUMNS,
        f"Metric {name!r} has more than {MAX_VALUES} values": len(series.values) + len(values) > MAX_VALUES,
        f"Metric {name!r} must be logged either always or never with a step": len({step is None for step in steps}) > 1,
    }
    if problem := next((text for text, holds in problems.items() if holds), ""):
        return problem
    run.metrics[name] = series
    series.columns = series.columns | columns
    for value in values:
        identity = value.get("metricId") or str(uuid.uuid4())
        data = value.get("data") or {}
        created = _utc(value.get("createdUtc"))
        series.values.append(Metric(name, value.get("step"), data.get(name), arrived, data, identity, kind, created))
    return ""


def _utc(stamp: str | None) -> str:
    """Return a time with all its digits, so that times can be compared as text."""
    if stamp is None:
        return now()
    return datetime.datetime.fromisoformat(stamp).astimezone(datetime.UTC).strftime(ISO)


@routes("POST", f"/metric/v2.0{WORKSPACE}/runs/{{run_id}}/list")
def list_names(state: State, request: Request, run_id: str) -> dict[str, Any]:
    """List the metrics of a run."""
    known = state.run(run_id).metrics.items()
    found = [{"metricKey": {"namespace": "", "name": name}, "columns": series.columns} for name, series in known]
    return {"value": found, "continuationToken": None}


@routes("POST", f"/metric/v2.0{WORKSPACE}/runs/{{run_id}}/full")
def full_series(state: State, request: Request, run_id: str) -> dict[str, Any]:
    """Return the values of one metric, a page at a time."""
    wanted = request.json() or {}
    run = state.run(run_id)
    name = wanted.get("metricName")
    if name not in run.metrics:
        raise RefusalError(404, "UserError", f"Metric {name!r} not found")
    series = run.metrics[name]
    first = int(wanted.get("continuationToken") or 0)
    # In the order in which they were logged: the SDK's batches overtake each other.
    page = sorted(series.values, key=lambda value: value.created)[first : first + _PAGE]
    more = first + _PAGE < len(series.values)
    return {
        "dataContainerId": run.container,
        "name": name,
        "columns": series.columns,
        "properties": {"uxMetricType": series.type},
        "namespace": "",
        "standardSchemaId": None,
        "value": [
            {"metricId": value.id, "createdUtc": value.created, "step": value.step, "data": value.columns}
            for value in page
        ],
        "continuationToken": str(first + _PAGE) if more else None,
    }


@routes("GET", f"/history/v1.0{WORKSPACE}/experiments/{{experiment}}/runs/{{run_id}}/metricsingest/wait")
def wait_for_ingest(state: State, request: Request, run_id: str, experiment: str) -> Response:
    """Confirm that everything posted before is stored: always so, here."""
    state.run(run_id)
    return Response(200)
