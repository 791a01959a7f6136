"""Azure Resource Manager and service discovery: subscription, workspace, and where its services are."""

from typing import Any

from scripts.emulator.messages import Request
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import ACCOUNT, REGION, TENANT, State

API = f"https://{REGION}.api.azureml.ms"
DISCOVERY = f"{API}/discovery"

routes = Routes("management", r"management\.azure\.com|.*\.api\.azureml\.ms")
discovery_routes = Routes("management", r".*\.api\.azureml\.ms", public=True)


@routes("GET", "/subscriptions")
def subscriptions(state: State, request: Request) -> dict[str, Any]:
    """List the one subscription."""
    identity = state.workspace.subscription_id
    entry = {
        "id": f"/subscriptions/{identity}",
        "subscriptionId": identity,
        "tenantId": TENANT,
        "displayName": "emulator",
        "state": "Enabled",
    }
    return {"value": [entry], "count": {"type": "Total", "value": 1}}


@routes("GET", WORKSPACE)
def workspace(state: State, request: Request) -> dict[str, Any]:
    """Return the workspace as a resource."""
    known, scope = state.workspace, state.workspace.scope
    providers = f"/subscriptions/{known.subscription_id}/resourceGroups/{known.resource_group}/providers"
    return {
        "id": scope,
        "name": known.name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "location": REGION,
        "tags": {},
        "properties": {
            "friendlyName": known.name,
            "workspaceId": known.id,
            "discoveryUrl": DISCOVERY,
            "provisioningState": "Succeeded",
            "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            "keyVault": f"{providers}/Microsoft.KeyVault/vaults/emulatorvault",
            "applicationInsights": f"{providers}/Microsoft.Insights/components/emulatorinsights",
            "mlFlowTrackingUri": f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{scope}",
        },
    }


@discovery_routes("GET", "/discovery")
def discovery(state: State, request: Request) -> dict[str, str]:
    """Return the addresses of the workspace's services."""
    return {
        "api": API,
        "experimentation": API,
        "history": API,
        "hyperdrive": API,
        "modelmanagement": API,
        "studio": "https://ml.azure.com",
    }
