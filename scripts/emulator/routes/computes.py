"""Compute clusters: those that exist, how large they may grow, and the sizes of machines that a region offers."""

from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.records import Compute
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import REGION, State, now

COMPUTES = f"/rp/workspaces{WORKSPACE}/computes"
SIZES = {"Standard_DS3_v2": 0, "Standard_DS12_v2": 0, "Standard_NC6s_v3": 1, "Standard_NC4as_T4_v3": 1}
"""The sizes, and their GPUs."""

routes = Routes("computes", r".*\.api\.azureml\.ms|management\.azure\.com")


def _resource(state: State, compute: Compute) -> dict[str, Any]:
    scale = {"minNodeCount": 0, "maxNodeCount": compute.max_nodes, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    cluster = {
        "osType": "Linux",
        "vmSize": compute.vm_size,
        "vmPriority": "Dedicated",
        "subnet": None,
        "scaleSettings": scale,
        "allocationState": "Steady",
        "currentNodeCount": 0,
        "targetNodeCount": 0,
    }
    return {
        "id": f"{state.workspace.scope}/computes/{compute.name}",
        "name": compute.name,
        "type": "Microsoft.MachineLearningServices/workspaces/computes",
        "location": REGION,
        "tags": {},
        "properties": {
            "computeType": "AmlCompute",
            "description": None,
            "createdOn": now(),
            "modifiedOn": now(),
            "provisioningState": "Succeeded",
            "provisioningErrors": None,
            "resourceId": None,
            "isAttachedCompute": False,
            "properties": cluster,
        },
    }


@routes("GET", COMPUTES, WORKSPACE + "/computes")
def list_computes(state: State, request: Request) -> dict[str, Any]:
    """List the clusters."""
    return {"value": [_resource(state, compute) for compute in list(state.computes.values())]}


@routes("GET", COMPUTES + "/{name}", WORKSPACE + "/computes/{name}")
def get_compute(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return a cluster."""
    if name not in state.computes:
        raise RefusalError(404, "ComputeNotFound", f"Compute {name!r} was not found")
    return _resource(state, state.computes[name])


@routes("GET", "/subscriptions/{id}/providers/Microsoft.MachineLearningServices/locations/{location}/vmSizes")
def sizes(state: State, request: Request, id: str, location: str) -> dict[str, Any]:
    """List the sizes of machines of a region."""
    common = {"family": "standard", "supportedComputeTypes": ["AmlCompute"]}
    return {"value": [common | {"name": name, "gpus": gpus} for name, gpus in SIZES.items()]}
