"""Where SDK v2 asks for datastores, clusters and sizes of machines: Azure Resource Manager."""

from typing import Any

from scripts.emulator.messages import Request
from scripts.emulator.routes import computes, datastores
from scripts.emulator.routes.arm_assets import resource
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import State

SIZES = {"Standard_DS3_v2": 0, "Standard_DS12_v2": 0, "Standard_NC6s_v3": 1, "Standard_NC4as_T4_v3": 1}
"""Sizes of machines that the region offers, and their GPUs."""

routes = Routes("datastores", r"management\.azure\.com")
compute_routes = Routes("computes", r"management\.azure\.com")


def _datastore(state: State, name: str) -> dict[str, Any]:
    section = datastores.get_datastore(state, None, name)["azureStorageSection"]
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": section["accountName"],
        "containerName": section["containerName"],
        "endpoint": section["endpoint"],
        "protocol": section["protocol"],
        "isDefault": name == datastores.DEFAULT,
        "credentials": {"credentialsType": "AccountKey"},
    }
    return resource(state, f"datastores/{name}", properties)


@routes("GET", WORKSPACE + "/datastores")
def list_datastores(state: State, request: Request) -> dict[str, Any]:
    """List the datastores, or only the workspace's own."""
    own = request.query.get("isDefault", "").lower() == "true"
    return {"value": [_datastore(state, name) for name in state.datastores if not own or name == datastores.DEFAULT]}


@routes("GET", WORKSPACE + "/datastores/{name}")
def get_datastore(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return a datastore."""
    return _datastore(state, name)


@routes("POST", WORKSPACE + "/datastores/{name}/listSecrets")
def secrets(state: State, request: Request, name: str) -> dict[str, str]:
    """Return the key to a datastore; whether Azure hands out a signature instead is not known."""
    section = datastores.get_datastore(state, None, name)["azureStorageSection"]
    return {"secretsType": "AccountKey", "key": section["accountKey"]}


@compute_routes("GET", WORKSPACE + "/computes")
def list_computes(state: State, request: Request) -> dict[str, Any]:
    """List the clusters."""
    return computes.list_computes(state, request)


@compute_routes("GET", "/subscriptions/{id}/providers/Microsoft.MachineLearningServices/locations/{location}/vmSizes")
def sizes(state: State, request: Request, id: str, location: str) -> dict[str, Any]:
    """List the sizes of machines of a region."""
    common: dict[str, Any] = {
        "family": "standard",
        "supportedComputeTypes": ["AmlCompute"],
    }
    return {"value": [common | {"name": name, "gpus": gpus} for name, gpus in SIZES.items()]}
