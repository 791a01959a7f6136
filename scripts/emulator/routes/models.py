"""Model registration: assets made of a run's artifacts, and models with counted versions."""

import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import ModelRecord
from scripts.emulator.routes.blobs import names, read
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import State, now

MANAGEMENT = f"/modelmanagement/v1.0{WORKSPACE}"

routes = Routes("models", r".*\.modelmanagement\.azureml\.net|.*\.api\.azureml\.ms")


@routes("POST", MANAGEMENT + "/assets")
def create_asset(state: State, request: Request) -> dict[str, Any]:
    """Keep an asset."""
    asset = request.json() | {"id": str(uuid.uuid4()), "createdTime": now()}
    state.assets[asset["id"]] = asset
    return asset


@routes("GET", MANAGEMENT + "/assets/{asset_id}")
def get_asset(state: State, request: Request, asset_id: str) -> dict[str, Any]:
    """Return an asset."""
    if asset_id not in state.assets:
        raise RefusalError(404, "UserError", f"Asset {asset_id} not found")
    return state.assets[asset_id]


@routes("POST", MANAGEMENT + "/models")
def register_model(state: State, request: Request) -> dict[str, Any]:
    """Register a model in its next version."""
    content = request.json()
    asset = get_asset(state, request, content["url"].rsplit("/", 1)[-1])
    version = 1 + max((model.version for model in state.models if model.name == content["name"]), default=0)
    tags, properties = content.get("kvTags") or {}, content.get("properties") or {}
    document = content | {
        "id": f"{content['name']}:{version}",
        "version": version,
        "createdTime": now(),
        "modifiedTime": now(),
        "datasets": [],
        "kvTags": tags,
        "properties": properties,
    }
    prefixes = [artifact["prefix"].rstrip("/") for artifact in asset["artifacts"]]
    found = {
        path[len(prefix) :].strip("/") or prefix.rsplit("/", 1)[-1]: read(state, "azureml", path)
        for prefix in prefixes
        for path in names(state, "azureml")
        if path == prefix or path.startswith(prefix + "/")
    }
    record = ModelRecord(content["name"], version, content.get("runId"), tags, properties, found, document)
    state.models.append(record)
    return document


@routes("GET", MANAGEMENT + "/models")
def list_models(state: State, request: Request) -> dict[str, Any]:
    """List models, newest first."""
    name, run_id = request.query.get("name"), request.query.get("runId")
    found = [one for one in reversed(state.models) if name in (None, one.name) and run_id in (None, one.run_id)]
    return {"value": [model.document for model in found], "continuationToken": None, "nextLink": None}
