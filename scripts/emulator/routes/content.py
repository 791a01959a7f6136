"""Snapshots: the files of a submission, sent one by one, each only when it is new."""

import uuid
from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routes.blobs import read
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import State, signed

NONE = "00000000-0000-0000-0000-000000000000"
_CONTAINER = "snapshots"

routes = Routes("snapshots", SERVICES)


@routes("GET", f"/content/v1.0{WORKSPACE}/snapshots/latest/metadata")
def latest(state: State, request: Request) -> dict[str, Any]:
    """Return the newest snapshot, of which only changes need to be sent; here every client starts anew."""
    return {"id": NONE, "root": {}}


@routes("POST", f"/content/v2.0{WORKSPACE}/snapshots/getblob")
def addresses(state: State, request: Request) -> dict[str, Any]:
    """Return where to send the files to."""
    folder, names = uuid.uuid4(), request.json()["FileNames"]
    nodes = [{"fullName": name, "blobUri": signed(_CONTAINER, f"{folder}/{name}")} for name in names]
    return {"fileNodes": nodes}


@routes("POST", f"/content/v2.0{WORKSPACE}/snapshots/{{snapshot_id}}")
def create(state: State, request: Request, snapshot_id: str) -> dict[str, Any]:
    """Make a snapshot of the files that were sent and those of its parent that are still in the tree."""
    content = request.json()
    parent = state.snapshots.get(content.get("ParentSnapshotId") or NONE)
    if parent is None and content.get("ParentSnapshotId") not in (None, NONE):
        raise RefusalError(404, "UserError", "The parent snapshot does not exist")
    known = dict(parent or {})
    for node in (content.get("FileRevisionList") or {}).get("FileNodes") or []:
        path = node["BlobUri"].split(f"/{_CONTAINER}/", 1)[1].split("?")[0]
        folder = path.split("/", 1)[0]
        known[node["FullName"]] = f"{folder}/{node['FullName']}"
    in_tree = set(_files(content["DirTreeNode"], ""))
    state.snapshots[snapshot_id] = {name: blob for name, blob in known.items() if name in in_tree}
    return {"id": snapshot_id}


def files(state: State, snapshot_id: str) -> dict[str, bytes]:
    """Return a snapshot's files: path to content."""
    with state.lock:
        return {name: read(state, _CONTAINER, blob) for name, blob in state.snapshots[snapshot_id].items()}


def _files(node: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, child in (node.get("children") or {}).items():
        if child["type"] == "File":
            found.append(prefix + name)
        else:
            found += _files(child, f"{prefix}{name}/")
    return found
