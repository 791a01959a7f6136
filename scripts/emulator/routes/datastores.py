"""Datastores: names for containers of blobs, with the key to them."""

import base64
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import ACCOUNT, State

DATASTORES = f"/datastore/v1.0{WORKSPACE}"
DEFAULT = "workspaceblobstore"
_KEY = base64.b64encode(b"emulator: signatures are not checked").decode()

routes = Routes("datastores", SERVICES)


def add(state: State, name: str, container: str) -> None:
    """Add a datastore whose blobs are those of `container`."""
    section = {
        "accountName": ACCOUNT,
        "containerName": container,
        "endpoint": "core.windows.net",
        "protocol": "https",
        "credentialType": "AccountKey",
        "credential": _KEY,
        "accountKey": _KEY,
    }
    state.datastores[name] = {"name": name, "dataStoreType": "AzureBlob", "azureStorageSection": section}
    state.blobs.setdefault(container, {})


def container_of(state: State, name: str) -> str:
    """Return the container of a datastore; refuse (404) if there is none."""
    return str(get_datastore(state, None, name)["azureStorageSection"]["containerName"])


@routes("GET", DATASTORES + "/datastores")
def list_datastores(state: State, request: Request) -> dict[str, Any]:
    """List the datastores."""
    return {"value": list(state.datastores.values()), "continuationToken": None}


@routes("GET", DATASTORES + "/default", DATASTORES + "/datastores/{name}")
def get_datastore(state: State, request: Request | None, name: str = DEFAULT) -> dict[str, Any]:
    """Return a datastore."""
    if name not in state.datastores:
        raise RefusalError(404, "UserError", f"Could not find datastore with name {name}")
    return state.datastores[name]
