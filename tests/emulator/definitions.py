"""Parts of run definitions, as the SDK sends them."""


def pytorch(nodes: int, processes: int | None) -> dict[str, object]:
    """Return what `PyTorchConfiguration("Gloo", process_count=processes, node_count=nodes)` adds to a definition."""
    return {
        "framework": "PyTorch",
        "communicator": "gloo",
        "nodeCount": nodes,
        "pytorch": {"processCount": processes, "nodeCount": nodes},
    }


def data_reference(path: str, mode: str) -> dict[str, str]:
    """Return a reference to a path of the default datastore; `mode` is mount or download."""
    return {"dataStoreName": "workspaceblobstore", "pathOnDataStore": path, "mode": mode}
