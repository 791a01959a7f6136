"""Environments: registered under a name, with versions counted by the service."""

from typing import Any

from scripts.emulator.messages import RefusalError, Request
from scripts.emulator.routing import SERVICES, WORKSPACE, Routes
from scripts.emulator.state import State

ENVIRONMENTS = f"/environment/v1.0{WORKSPACE}/environments"

routes = Routes("environments", SERVICES)

# What an environment is made of; the SDK sends more of it with a submission than at a registration.
_CONTENT = ("python", "docker", "environmentVariables", "spark", "inferencingStackVersion", "r")


def register(state: State, definition: dict[str, Any], version: str | None = None) -> dict[str, Any]:
    """Register a definition as the SDK sends it, and return it with its version.

    That is the client's choice, or the latest one if nothing has changed since, or the next one, counted from 1.
    """
    content = {key[0].lower() + key[1:]: value for key, value in definition.items()}
    name = content["name"]
    version = version or content.pop("version", None)
    content.pop("version", None)
    known = _versions(state, name)
    latest = known[-1] if known else None
    if version is None and latest and all(latest.get(key) == content.get(key) for key in _CONTENT):
        return latest
    version = version or str(1 + max((int(one["version"]) for one in known if one["version"].isdigit()), default=0))
    # A version, once registered, stays as it is.
    return state.environments.setdefault((name, str(version)), content | {"version": str(version)})


def _versions(state: State, name: str) -> list[dict[str, Any]]:
    """Return all versions of an environment, oldest first."""
    return [definition for (known, _), definition in state.environments.items() if known == name]


@routes("GET", ENVIRONMENTS)
def list_environments(state: State, request: Request) -> dict[str, Any]:
    """List the environments, each in its latest version."""
    names = dict.fromkeys(name for name, _ in state.environments)
    return {"value": [get_latest(state, None, name) for name in names], "continuationToken": None}


@routes("GET", ENVIRONMENTS + "/{name}", ENVIRONMENTS + "/{name}/labels/latest")
def get_latest(state: State, request: Request | None, name: str) -> dict[str, Any]:
    """Return the latest version of an environment."""
    known = _versions(state, name)
    if not known:
        raise RefusalError(404, "UserError", f"Environment {name!r} not found")
    return known[-1]


@routes("GET", ENVIRONMENTS + "/{name}/versions/{version}")
def get_version(state: State, request: Request, name: str, version: str) -> dict[str, Any]:
    """Return one version of an environment."""
    if (name, version) not in state.environments:
        raise RefusalError(404, "UserError", f"Environment {name!r} with version {version!r} not found")
    return state.environments[name, version]


@routes("PUT", ENVIRONMENTS + "/{name}", ENVIRONMENTS + "/{name}/versions/{version}")
def put(state: State, request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Register an environment; the service counts its version, unless the client has chosen one."""
    return register(state, request.json() | {"name": name}, version)
