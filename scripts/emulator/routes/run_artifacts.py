"""A run's artifacts as azureml-mlflow asks for them: by experiment and run."""

from typing import Any

from scripts.emulator.messages import Request
from scripts.emulator.routes import artifacts
from scripts.emulator.routes.history import RUN
from scripts.emulator.routing import SERVICES, Routes
from scripts.emulator.state import State

_ORIGIN = "ExperimentRun"

routes = Routes("artifacts", SERVICES)


@routes("POST", RUN + "/artifacts/batch/metadata")
def create(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Add artifacts, whose contents follow as blobs; a name that is taken stays taken."""
    container = state.run(run_id).container
    taken = state.artifacts.get((_ORIGIN, container), [])
    if found := [entry["path"] for entry in request.json()["paths"] if entry["path"] in taken]:
        message = f"Resource Conflict: ArtifactId {_ORIGIN}/{container}/{found[0]} already exists."
        error = {"error": {"code": "UserError", "message": message}}
        return {"artifacts": {}, "artifactContentInformation": {}, "errors": {found[0]: error}}
    return artifacts.create(state, request, _ORIGIN, container)


@routes("GET", RUN + "/artifacts/contentinfo")
def content_information(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """Return the address of an artifact."""
    container = state.run(run_id).container
    return artifacts.content_information(state, request, _ORIGIN, container, request.query["path"])


@routes("GET", RUN + "/artifacts")
def list_all(state: State, request: Request, experiment: str, run_id: str) -> dict[str, Any]:
    """List the run's artifacts."""
    return artifacts.list_all(state, request, _ORIGIN, state.run(run_id).container)
