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
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": {"type": "SystemAssigned", "tenantId": TENANT, "principalId": known.id},
        "properties": {
            "friendlyName": known.name,
            "description": "",
            "workspaceId": known.id,
            "discoveryUrl": DISCOVERY,
            "creationTime": "2024-01-01T00:00:00Z",
            "provisioningState": "Succeeded",
            "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            "keyVault": f"{providers}/Microsoft.KeyVault/vaults/emulatorvault",
            "applicationInsights": f"{providers}/Microsoft.Insights/components/emulatorinsights",
            "hbiWorkspace": False,
            "studioEndpoint": "https://ml.azure.com",
            "mlFlowTrackingUri": f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{scope}",
        },
    }


@discovery_routes("GET", "/discovery")
def discovery(state: State, request: Request) -> dict[str, str]:
    """Return the addresses of the workspace's services."""
    return {
        "api": API,
        "catalog": "https://catalog.cortanaanalytics.com",
        "experimentation": API,
        "gallery": "https://gallery.cortanaintelligence.com/project",
        "history": API,
        "hyperdrive": API,
        "pipelines": API,
        "modelmanagement": API,
        "studio": "https://ml.azure.com",
    }
