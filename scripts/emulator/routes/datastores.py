"""Datastores: names for containers of blobs, with the key to them."""

import base64
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routing import WORKSPACE, Routes
from scripts.emulator.state import ACCOUNT, State

DATASTORES = f"/datastore/v1.0{WORKSPACE}"
DEFAULT = "workspaceblobstore"
_KEY = base64.b64encode(b"emulator: signatures are not checked").decode()

routes = Routes("datastores", r".*\.api\.azureml\.ms|.*\.experiments\.azureml\.net")


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
    with state.lock:
        state.datastores[name] = {
            "name": name,
            "dataStoreType": "AzureBlob",
            "azureStorageSection": section,
        }
        state.blobs.setdefault(container, {})


def container_of(state: State, name: str) -> str:
    """Return the container of a datastore.

    Raises:
        RefusalError: 404, if there is no such datastore.
    """
    return str(_datastore(state, name)["azureStorageSection"]["containerName"])


def _datastore(state: State, name: str) -> dict[str, Any]:
    with state.lock:
        if name not in state.datastores:
            raise RefusalError(404, "UserError", f"Could not find datastore with name {name}")
        return state.datastores[name]


@routes("GET", DATASTORES + "/datastores")
def list_datastores(state: State, request: Request) -> dict[str, Any]:
    """List the datastores."""
    with state.lock:
        return {"value": list(state.datastores.values()), "continuationToken": None}


@routes("GET", DATASTORES + "/datastores/{name}")
def get_datastore(state: State, request: Request, name: str) -> dict[str, Any]:
    """Return a datastore."""
    return _datastore(state, name)


@routes("GET", DATASTORES + "/default")
def get_default(state: State, request: Request) -> dict[str, Any]:
    """Return the default datastore."""
    return _datastore(state, DEFAULT)
