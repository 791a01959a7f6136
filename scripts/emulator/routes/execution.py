"""Submissions: a run definition with a snapshot becomes a run; a run can be cancelled."""

from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routes.environments import register
from scripts.emulator.routes.management import API
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import FINAL, State

EXECUTION = f"/execution/v1.0{WORKSPACE}"

routes = Routes("execution", SERVICES)


@routes("POST", EXECUTION + "/experiments/{experiment}/snapshotrun")
def submit(state: State, request: Request, experiment: str) -> dict[str, Any]:
    """Accept a submission: its run waits in the queue."""
    content = {key[0].lower() + key[1:]: value for key, value in request.json().items()}
    definition, run_id = content["configuration"], request.query["runId"]
    compute = state.computes.get(definition["target"])
    if compute is None:
        raise RefusalError(400, "UserError", f"Compute target {definition['target']!r} not found")
    nodes = definition.get("nodeCount") or 1
    if nodes > compute.max_nodes:
        raise RefusalError(400, "UserError", f"{nodes} nodes are more than the {compute.max_nodes} of {compute.name}")
    run = state.add_run(run_id, experiment, type="azureml.scriptrun")
    run.target, run.snapshot, run.definition = compute.name, content["snapshotId"], definition
    run.parent = content.get("parentRunId")
    environment = register(state, definition["environment"])
    run.properties |= {
        "_azureml.ComputeTargetType": "amlctrain",
        "ProcessInfoFile": "azureml-logs/process_info.json",
        "ProcessStatusFile": "azureml-logs/process_status.json",
        "AzureML.DerivedEnvironmentName": environment["name"],
        "AzureML.DerivedEnvironmentVersion": environment["version"],
    }
    address = f"{API}/execution/v1.0{state.workspace.scope}/experiments/{experiment}/runs/{run_id}"
    run.extra["cancelUri"] = f"{address}/cancel"
    state.set_status(run, "Queued")
    if state.on_submit is not None:
        state.on_submit(run_id)
    return {"runId": run_id}


@routes("POST", EXECUTION + "/experiments/{experiment}/runs/{run_id}/cancel")
def cancel(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Cancel a run: its job's processes, if they are running."""
    run = state.run(run_id)
    if run.status not in FINAL:
        state.set_status(run, "CancelRequested")
        if state.on_cancel is None or not state.on_cancel(run_id):
            state.set_status(run, "Canceled")
    return {"runId": run_id}
