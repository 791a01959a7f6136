"""Registries of environments, as SDK v2 asks for them: where a registry is, and what it holds.

An environment of the emulator's whose name is an address, `azureml://registries/R/environments/E/versions/V`, is R's.
"""

import re
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routes.management import API
from scripts.emulator.routing import SERVICES, Routes
from scripts.emulator.state import State

_ADDRESS = re.compile(r"azureml://registries/([^/]+)/environments/([^/]+)/(?:versions/([^/]+)|labels/latest)")
_ENVIRONMENTS = (
    "/mferp/managementfrontend/subscriptions/{account}/resourceGroups/{place}"
    "/providers/Microsoft.MachineLearningServices/registries/{registry}/environments"
)

routes = Routes("assets", SERVICES)


def _versions(state: State, registry: str) -> dict[str, list[str]]:
    """Return the versions of each environment of a registry; refuse (404) if there is no such registry."""
    found: dict[str, list[str]] = {}
    for address, _ in state.environments:
        if (parts := _ADDRESS.fullmatch(address)) and parts[1] == registry:
            found.setdefault(parts[2], []).append(parts[3] or "1")
    if not found:
        raise RefusalError(404, "UserError", f"Registry {registry} not found")
    return found


def _resource(registry: str, name: str, version: str = "") -> dict[str, Any]:
    identity = f"azureml://registries/{registry}/environments/{name}" + (f"/versions/{version}" if version else "")
    properties = {"osType": "Linux", "image": "mcr.microsoft.com/azureml/curated/emulator:1"} if version else {}
    return {"id": identity, "name": version or name, "properties": properties}


@routes("GET", "/registrymanagement/v1.0/registries/{registry}/discovery")
def discovery(state: State, request: Request, registry: str) -> dict[str, Any]:
    """Return where a registry is."""
    _versions(state, registry)
    known = {"subscriptionId": state.workspace.subscription_id, "resourceGroup": "registries"}
    return known | {"registryName": registry, "primaryRegionResourceProviderUri": f"{API}/"}


@routes("GET", _ENVIRONMENTS)
def names(state: State, request: Request, registry: str, **place: str) -> dict[str, Any]:
    """List the names of a registry's environments."""
    return {"value": [_resource(registry, name) for name in _versions(state, registry)]}


@routes("GET", _ENVIRONMENTS + "/{name}/versions")
def versions(state: State, request: Request, registry: str, name: str, **place: str) -> dict[str, Any]:
    """List the versions of an environment, newest first."""
    found = _versions(state, registry).get(name, [])[::-1]
    return {"value": [_resource(registry, name, one) for one in found[: int(request.query.get("$top") or len(found))]]}


@routes("GET", _ENVIRONMENTS + "/{name}/versions/{version}")
def version(state: State, request: Request, registry: str, name: str, version: str, **place: str) -> dict[str, Any]:
    """Return one version of an environment."""
    if version not in _versions(state, registry).get(name, ()):
        raise RefusalError(404, "UserError", f"Environment {name}:{version} of registry {registry} not found")
    return _resource(registry, name, version)
