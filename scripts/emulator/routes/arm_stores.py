"""Where SDK v2 asks for datastores: Azure Resource Manager."""

from typing import Any

from scripts.emulator.messages import Request
from scripts.emulator.routes import datastores
from scripts.emulator.routes.arm_assets import resource
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import State

routes = Routes("datastores", r"management\.azure\.com")


@routes("GET", WORKSPACE + "/datastores")
def list_datastores(state: State, request: Request) -> dict[str, Any]:
    """List the datastores, or only the workspace's own."""
    own = request.query.get("isDefault", "").lower() == "true"
    names = [name for name in state.datastores if not own or name == datastores.DEFAULT]
    return {"value": [get_datastore(state, request, name) for name in names]}


@routes("GET", WORKSPACE + "/datastores/{name}")
def get_datastore(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return a datastore."""
    section = datastores.get_datastore(state, request, name)["azureStorageSection"]
    kept = {key: section[key] for key in ("accountName", "containerName", "endpoint", "protocol")}
    kind = {"datastoreType": "AzureBlob", "credentials": {"credentialsType": "AccountKey"}}
    return resource(state, f"datastores/{name}", kind | kept | {"isDefault": name == datastores.DEFAULT})


@routes("POST", WORKSPACE + "/datastores/{name}/listSecrets")
def secrets(state: State, request: Request, name: str) -> dict[str, str]:
    """Return the key to a datastore; whether Azure hands out a signature instead is not known."""
    section = datastores.get_datastore(state, request, name)["azureStorageSection"]
    return {"secretsType": "AccountKey", "key": section["accountKey"]}
