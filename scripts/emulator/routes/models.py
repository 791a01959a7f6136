"""Model registration: assets made of a run's artifacts, and models with counted versions."""

import uuid
from typing import Any

from scripts.emulator.messages import Request
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


@routes("POST", MANAGEMENT + "/models")
def register_model(state: State, request: Request) -> dict[str, Any]:
    """Register a model in its next version."""
    content = request.json()
    asset = state.assets[content["url"].rsplit("/", 1)[-1]]
    version = 1 + max((model.version for model in state.models if model.name == content["name"]), default=0)
    state.models.append(ModelRecord(content["name"], version, content.get("runId"), _files(state, asset)))
    return content | {
        "id": f"{content['name']}:{version}",
        "version": version,
        "createdTime": now(),
        "modifiedTime": now(),
        "datasets": [],
        "kvTags": content.get("kvTags") or {},
        "properties": content.get("properties") or {},
    }


def _files(state: State, asset: dict[str, Any]) -> dict[str, bytes]:
    prefixes = [artifact["prefix"].rstrip("/") for artifact in asset["artifacts"]]
    return {
        path[len(prefix) :].strip("/") or prefix.rsplit("/", 1)[-1]: read(state, "azureml", path)
        for prefix in prefixes
        for path in names(state, "azureml")
        if path == prefix or path.startswith(prefix + "/")
    }
