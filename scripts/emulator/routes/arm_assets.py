"""Assets as Azure Resource Manager knows them, for SDK v2: code, environments, data and models, with versions."""

import re
import uuid
from typing import Any

import yaml

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import ModelRecord
from scripts.emulator.routes.blobs import names, read
from scripts.emulator.routes.environments import register
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import BLOBS, State, signed

_ARTIFACT = re.compile(r"azureml://jobs/([^/]+)/outputs/artifacts/paths/(.+?)/?")

routes = Routes("assets", r"management\.azure\.com")


def resource(state: State, path: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return a resource of the workspace; its name is the last part of its path."""
    return {"id": f"{state.workspace.scope}/{path}", "name": path.rpartition("/")[2], "properties": properties}


def find(state: State, path: str) -> dict[str, Any]:
    """Return the resource at a path below the workspace; refuse (404) if there is none."""
    _mirror_environments(state)
    for known, properties in state.resources.items():
        if known.lower() == path.lower():
            return resource(state, known, properties)
    raise RefusalError(404, "UserError", f"The specified resource {path} was not found.")


def _mirror_environments(state: State) -> None:
    """Show what SDK v1 or a test has registered as a resource, too: there is one registry for both."""
    own = {key: known for key, known in state.environments.items() if "://" not in key[0]}  # others are a registry's
    for (name, version), known in own.items():
        packages = (known.get("python") or {}).get("condaDependencies")
        image = (known.get("docker") or {}).get("baseImage")
        properties = {"image": image, "condaFile": yaml.safe_dump(packages) if packages else None, "osType": "Linux"}
        state.resources.setdefault(f"environments/{name}/versions/{version}", properties)


def _versions(state: State, kind: str, name: str) -> list[dict[str, Any]]:
    """Return the versions of an asset, oldest first."""
    _mirror_environments(state)
    place = f"{kind}/{name}/versions/".lower()
    found = state.resources.items()
    return [resource(state, path, properties) for path, properties in found if path.lower().startswith(place)]


@routes("GET", *(f"{WORKSPACE}/{kind}" for kind in ("environments", "data", "models")))
def containers(state: State, request: Request) -> dict[str, Any]:
    """List the names of all assets of a kind."""
    _mirror_environments(state)
    kind = request.path.rstrip("/").rpartition("/")[2]
    found = dict.fromkeys(path.split("/")[1] for path in state.resources if path.startswith(f"{kind}/"))
    return {"value": [_container(state, kind, name) for name in found]}


@routes("GET", *(f"{WORKSPACE}/{kind}/{{name}}" for kind in ("environments", "data", "models")))
def container(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return an asset without a version: which is the latest, and which comes next."""
    kind = request.path.rstrip("/").split("/")[-2]
    if not _versions(state, kind, name):
        raise RefusalError(404, "UserError", f"The specified {kind} {name} was not found.")
    return _container(state, kind, name)


def _container(state: State, kind: str, name: str) -> dict[str, Any]:
    known = [one["name"] for one in _versions(state, kind, name)]
    following = str(1 + max((int(version) for version in known if version.isdigit()), default=0))
    properties = {"latestVersion": known[-1], "nextVersion": following, "isArchived": False}
    return resource(state, f"{kind}/{name}", properties | ({"dataType": "uri_folder"} if kind == "data" else {}))


@routes("GET", *(f"{WORKSPACE}/{kind}/{{name}}/versions" for kind in ("codes", "environments", "data", "models")))
def versions(state: State, request: Request, name: str) -> dict[str, Any]:
    """List the versions of an asset, newest first; code is looked for by its hash, under whatever name."""
    kind = request.path.rstrip("/").split("/")[-3]
    wanted = request.query.get("hash")
    if kind == "codes" and wanted:
        known = [(path, one) for path, one in state.resources.items() if path.startswith("codes/")]
        found = [resource(state, path, one) for path, one in known if one["properties"].get("hash_sha256") == wanted]
    else:
        found = _versions(state, kind, name)[::-1]
    return {"value": found[: int(request.query.get("$top") or len(found))]}


@routes("GET", *(f"{WORKSPACE}/{kind}/{{name}}/versions/{{version}}" for kind in ("codes", "environments", "data")))
def version(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Return one version of an asset."""
    kind = request.path.rstrip("/").split("/")[-4]
    return find(state, f"{kind}/{name}/versions/{version}")


@routes("POST", WORKSPACE + "/codes/{name}/versions/{version}/startPendingUpload")
def start_upload(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Return a container of its own for the files of a code asset."""
    container = f"code-{uuid.uuid4()}"
    state.blobs[container] = {}
    address = f"{BLOBS}/{container}"
    credential = {"credentialType": "SAS", "sasUri": signed(container, "").replace("/?", "?")}
    reference = {
        "blobUri": address,
        "storageAccountArmId": f"{state.workspace.scope}/storage",
        "credential": credential,
    }
    return {"pendingUploadType": "TemporaryBlobReference", "blobReferenceForConsumption": reference}


@routes("PUT", *(f"{WORKSPACE}/{kind}/{{name}}/versions/{{version}}" for kind in ("codes", "data")))
def put(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Keep a version of code or data; one that is there cannot get another content."""
    kind = request.path.rstrip("/").split("/")[-4]
    path, properties = f"{kind}/{name}/versions/{version}", request.json()["properties"]
    place = "codeUri" if kind == "codes" else "dataUri"
    known = state.resources.get(path)
    if known and known[place] != properties[place]:
        raise RefusalError(409, "UserError", f"The {place} of {path} is immutable.")
    state.resources[path] = properties
    return find(state, path)


@routes("PUT", WORKSPACE + "/environments/{name}/versions/{version}")
def put_environment(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Register an environment, as it is kept for both SDKs; a version, once there, stays as it is."""
    properties = request.json()["properties"]
    packages = yaml.safe_load(properties.get("condaFile") or "null")
    python = {"condaDependencies": packages, "userManagedDependencies": packages is None}
    definition = {"name": name, "python": python, "docker": {"enabled": True, "baseImage": properties.get("image")}}
    register(state, definition, version)
    return find(state, f"environments/{name}/versions/{version}")


@routes("PUT", WORKSPACE + "/models/{name}/versions/{version}")
def put_model(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Register a model made of an artifact of a run."""
    properties = request.json()["properties"]
    place = _ARTIFACT.fullmatch(properties["modelUri"])
    if place is None:
        raise RefusalError(400, "UserError", f"The emulator registers artifacts of runs, not {properties['modelUri']}")
    run_id, path = place.groups()
    root = f"ExperimentRun/{state.run(run_id).container}/{path}"
    there = [known for known in names(state, "azureml") if known == root or known.startswith(f"{root}/")]
    if not there:
        raise RefusalError(404, "UserError", f"Artifact {path} of run {run_id} not found")
    content = {
        known[len(root) :].strip("/") or path.rpartition("/")[2]: read(state, "azureml", known) for known in there
    }
    properties |= {key: properties.get(key) or {} for key in ("tags", "properties", "flavors")}
    state.models.append(ModelRecord(name, int(version), run_id, content))
    state.resources[f"models/{name}/versions/{version}"] = properties
    return find(state, f"models/{name}/versions/{version}")
