"""Model registration: assets made of a run's artifacts, and models with counted versions."""

import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import ModelRecord
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import State, now

MANAGEMENT = f"/modelmanagement/v1.0{WORKSPACE}"

routes = Routes("models", r".*\.modelmanagement\.azureml\.net|.*\.api\.azureml\.ms")


@routes("POST", MANAGEMENT + "/assets")
def create_asset(state: State, request: Request) -> dict[str, Any]:
    """Keep an asset."""
    asset = request.json() | {"id": str(uuid.uuid4()), "createdTime": now()}
    with state.lock:
        state.assets[asset["id"]] = asset
    return asset


@routes("GET", MANAGEMENT + "/assets/{asset_id}")
def get_asset(state: State, request: Request, asset_id: str) -> dict[str, Any]:
    """Return an asset."""
    with state.lock:
        if asset_id not in state.assets:
            raise RefusalError(404, "UserError", f"Asset {asset_id} not found")
        return state.assets[asset_id]


@routes("POST", MANAGEMENT + "/models")
def register_model(state: State, request: Request) -> dict[str, Any]:
    """Register a model in its next version."""
    content = request.json()
    asset = get_asset(state, request, content["url"].rsplit("/", 1)[-1])
    with state.lock:
        version = 1 + max((model.version for model in state.models if model.name == content["name"]), default=0)
        document = content | {
            "id": f"{content['name']}:{version}",
            "version": version,
            "createdTime": now(),
            "modifiedTime": now(),
            "datasets": content.get("datasets") or [],
            "derivedModelIds": [],
            "kvTags": content.get("kvTags") or {},
            "properties": content.get("properties") or {},
        }
        blobs = state.blobs.get("azureml", {})
        prefixes = [artifact["prefix"].rstrip("/") for artifact in asset["artifacts"]]
        found = {
            path[len(prefix) :].strip("/") or prefix.rsplit("/", 1)[-1]: blob
            for prefix in prefixes
            for path, blob in blobs.items()
            if path == prefix or path.startswith(prefix + "/")
        }
        state.models.append(
            ModelRecord(
                content["name"],
                version,
                content.get("runId"),
                document["kvTags"],
                document["properties"],
                found,
                document,
            )
        )
    return document


@routes("GET", MANAGEMENT + "/models/{model_id}")
def get_model(state: State, request: Request, model_id: str) -> dict[str, Any]:
    """Return a model by name:version."""
    with state.lock:
        for model in state.models:
            if model.document["id"] == model_id:
                return model.document
    raise RefusalError(404, "ModelNotFound", f"Model {model_id} not found")


@routes("GET", MANAGEMENT + "/models")
def list_models(state: State, request: Request) -> dict[str, Any]:
    """List models, newest first."""
    wanted = request.query
    with state.lock:
        found = [
            model.document
            for model in reversed(state.models)
            if wanted.get("name") in (None, model.name) and wanted.get("runId") in (None, model.run_id)
        ]
    return {"value": found, "continuationToken": None, "nextLink": None}
