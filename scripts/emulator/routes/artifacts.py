"""Artifacts: names, addresses with signatures, lists; the contents are blobs."""

from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import State, now, signed

ARTIFACTS = f"/artifact/v2.0{WORKSPACE}/artifacts"

routes = Routes("artifacts", SERVICES)


def _artifact(origin: str, container: str, path: str) -> dict[str, Any]:
    """Return an artifact and, at once, the address of its content."""
    identity = f"{origin}/{container}/{path}"
    fields = {"artifactId": identity, "contentUri": signed("azureml", identity), "createdTime": now(), "etag": None}
    return fields | {"origin": origin, "container": container, "path": path}


def _paths(state: State, origin: str, container: str) -> list[str]:
    return sorted(state.artifacts.get((origin, container), []))


@routes("POST", ARTIFACTS + "/batch/metadata/{origin}/{container}")
def create(state: State, request: Request, origin: str, container: str) -> dict[str, Any]:
    """Add artifacts and return the addresses to which their contents are sent."""
    paths = [entry["path"] for entry in request.json()["paths"]]
    for path in paths:
        state.put_artifact(origin, container, path)
    artifacts = {path: _artifact(origin, container, path) for path in paths}
    return {"artifacts": artifacts, "artifactContentInformation": artifacts, "errors": {}}


@routes("GET", *(f"{ARTIFACTS}/{kind}/{{origin}}/{{container}}/{{path:path}}" for kind in ("contentinfo", "write")))
def content_information(state: State, request: Request, origin: str, container: str, path: str) -> dict[str, Any]:
    """Return the address of one artifact."""
    if path not in _paths(state, origin, container):
        raise RefusalError(404, "UserError", f"Artifact {path} not found")
    return _artifact(origin, container, path)


@routes("GET", ARTIFACTS + "/prefix/contentinfo/{origin}/{container}/{path:path}")
def prefix_information(state: State, request: Request, origin: str, container: str, path: str) -> dict[str, Any]:
    """Return the addresses of all artifacts below a path."""
    prefix = f"{path.strip('/')}/".lstrip("/")
    found = [known for known in _paths(state, origin, container) if f"{known}/".startswith(prefix)]
    return {"value": [_artifact(origin, container, known) for known in found], "continuationToken": None}


@routes("GET", ARTIFACTS + "/{origin}/{container}")
def list_all(state: State, request: Request, origin: str, container: str) -> dict[str, Any]:
    """List the artifacts of a container."""
    paths = _paths(state, origin, container)
    return {"value": [_artifact(origin, container, path) for path in paths], "continuationToken": None}
