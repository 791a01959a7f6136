"""Jobs as SDK v2 submits them: translated into what the node runs, and shown as resources."""

import re
from typing import Any

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.records import RunRecord
from scripts.emulator.routes import datastores
from scripts.emulator.routes.arm_assets import find, resource
from scripts.emulator.routes.execution import cancel as cancel_run
from scripts.emulator.routes.history import details as run_details
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import BLOBS, State

_DATA = re.compile(r"azureml:.*/datastores/([^/]+)/paths/(.*?)/?")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")

routes = Routes("jobs", r"management\.azure\.com")
history_routes = Routes("history", SERVICES)


@routes("PUT", WORKSPACE + "/jobs/{name}")
def put(state: State, request: Request, name: str) -> Response:
    """Accept a job, once; its run waits in the queue."""
    job = request.json()["properties"]
    if name in state.runs:
        return Response.of(_job(state, state.run(name)))
    definition = _definition(state, job)
    snapshot = _snapshot(state, job["codeId"])
    run = state.add_run(name, job.get("experimentName") or "Default", type="azureml.scriptrun")
    run.target, run.snapshot, run.definition = definition["target"], snapshot, definition
    run.display_name = job.get("displayName") or name
    run.tags, run.properties = dict(job.get("tags") or {}), dict(job.get("properties") or {})
    state.set_status(run, "Queued")
    if state.on_submit is not None:
        state.on_submit(name)
    return Response.of(_job(state, run), 201)


@routes("GET", WORKSPACE + "/jobs/{name}")
def get(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return a job, by whichever SDK it was submitted."""
    return _job(state, state.run(name))


@routes("POST", WORKSPACE + "/jobs/{name}/cancel")
def cancel(state: State, request: Request, name: str) -> Response:
    """Cancel a job: its processes, if they are running."""
    cancel_run(state, request, state.run(name).experiment, name)
    return Response(202)


@history_routes("GET", f"/history/v1.0{WORKSPACE}/runs/{{run_id}}/details")
def details(state: State, request: Request, run_id: str) -> dict[str, Any]:
    """Return status and log files of a run, of whichever experiment."""
    return run_details(state, request, "", run_id)


def _job(state: State, run: RunRecord) -> dict[str, Any]:
    """Return a run as a job."""
    studio = f"https://ml.azure.com/runs/{run.id}?wsid={state.workspace.scope}"
    service = {"jobServiceType": "Studio", "endpoint": studio}
    sent: dict[str, Any] = (run.definition or {}).get("job") or {
        "jobType": "Command",
        "command": (run.definition or {}).get("command") or "",
        "environmentId": f"{state.workspace.scope}/environments/unknown/versions/1",
    }
    shown = {"experimentName": run.experiment, "displayName": run.display_name, "status": run.status}
    kept = {"tags": run.tags, "properties": run.properties, "services": {"Studio": service}}
    return resource(state, f"jobs/{run.id}", sent | shown | kept)


def _definition(state: State, job: dict[str, Any]) -> dict[str, Any]:
    """Return a job in the form in which SDK v1 sends it, which the node runs; `job` in it is what was sent."""
    resources = job.get("resources") or {}
    nodes = int(resources.get("instanceCount") or 1)
    references = {key: _reference(state, one) for key, one in (job.get("inputs") or {}).items()}
    command = re.sub(r"\$\{\{inputs\.(\w+)\}\}", r"$AZUREML_DATAREFERENCE_\1", job["command"])
    definition = {
        "job": job,
        "command": command,
        "target": str(job.get("computeId") or "").rpartition("/")[2] or "serverless",
        "nodeCount": nodes,
        "framework": "Python",
        "communicator": "None",
        "environment": _environment(state, job["environmentId"]),
        "environmentVariables": job.get("environmentVariables") or {},
        "dataReferences": references,
        "docker": {"useDocker": True, "shmSize": resources.get("shmSize")},
        "maxRunDurationSeconds": _seconds((job.get("limits") or {}).get("timeout")),
        "priority": (job.get("queueSettings") or {}).get("priority"),
    }
    if processes := job.get("distribution"):
        if processes["distributionType"] != "PyTorch":
            raise RefusalError(400, "UserError", f"The emulator does not run {processes['distributionType']}")
        world = nodes * int(processes.get("processCountPerInstance") or 1)
        # SDK v2 names no backend for the communication; the processes choose it.
        definition |= {"framework": "PyTorch", "communicator": "Gloo"}
        definition["pytorch"] = {"processCount": world, "nodeCount": nodes}
    return definition


def _environment(state: State, identity: str) -> dict[str, Any]:
    """Return the environment of a job: of the workspace, by id or name, or of a registry, which is taken as it is."""
    if "://registries/" in identity:
        return {"name": identity, "version": ""}
    if named := re.fullmatch(r"azureml:([^/:]+):([^/:]+)", identity):
        path = f"environments/{named[1]}/versions/{named[2]}"
    else:
        path = _below_workspace(state, identity)
    name, version = find(state, path)["id"].split("/")[-3::2]
    return {"name": name, "version": version, **state.environments[(name, version)]}


def _snapshot(state: State, code_id: str) -> str:
    """Make the files of a code asset a snapshot, from which nodes are filled; return its id."""
    address = find(state, _below_workspace(state, code_id))["properties"]["codeUri"]
    container, _, folder = address.removeprefix(f"{BLOBS}/").partition("/")
    files = {path: content for path, content in state.blobs[container].items() if path.startswith(folder)}
    state.blobs.setdefault("snapshots", {}).update({f"{container}/{path}": files[path] for path in files})
    state.snapshots[container] = {path[len(folder) :].lstrip("/"): f"{container}/{path}" for path in files}
    return container


def _reference(state: State, given: dict[str, Any]) -> dict[str, Any]:
    """Return the data of an input as a data reference; an asset's are where it says."""
    address = given["uri"]
    if "/data/" in address:
        address = find(state, _below_workspace(state, address))["properties"]["dataUri"]
    if (place := _DATA.fullmatch(address)) is None:
        raise RefusalError(400, "UserError", f"The emulator has no data at {address}")
    datastores.container_of(state, place[1])
    mode = {"Download": "download", "ReadOnlyMount": "mount"}[given["mode"]]
    return {"dataStoreName": place[1], "pathOnDataStore": place[2], "mode": mode}


def _below_workspace(state: State, identity: str) -> str:
    """Return the path of a resource below its workspace; refuse an id of elsewhere, such as of a registry."""
    scope = f"{state.workspace.scope}/".lower()
    path = "/" + identity.removeprefix("azureml:").lstrip("/")
    if not path.lower().startswith(scope):
        raise RefusalError(400, "UserError", f"The emulator does not know {identity}")
    return path[len(scope) :]


def _seconds(duration: str | None) -> int | None:
    """Return the seconds of an ISO duration such as PT1H30M."""
    found, units = _DURATION.fullmatch(duration or ""), (86_400, 3_600, 60, 1)
    return sum(int(part or 0) * unit for part, unit in zip(found.groups(), units, strict=True)) if found else None
