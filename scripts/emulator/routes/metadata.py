"""The metadata service of a node: its name, and the events that are scheduled for it."""

from typing import Any

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.routing import Routes
from scripts.emulator.state import State

VARIABLE = "LIGHTNING_CIFAR_SCHEDULED_EVENTS"
"""The environment variable by which a job's watch finds this service instead of Azure's."""
PATH = "/metadata/scheduledevents?api-version=2020-07-01"
NODE = "emulator_0"

routes = Routes("metadata", r"127\.0\.0\.1", public=True)


@routes("GET", "/metadata/instance/compute/name")
def name(state: State, request: Request) -> Response:
    """Return the name by which events call this node; all nodes have the same."""
    _check(request)
    return Response(200, NODE.encode(), {"Content-Type": "text/plain"})


@routes("GET", "/metadata/scheduledevents")
def scheduled_events(state: State, request: Request) -> dict[str, Any]:
    """Return what the platform has announced."""
    _check(request)
    return {"DocumentIncarnation": len(state.events), "Events": state.events}


def announcement(kind: str, node: str = NODE) -> dict[str, Any]:
    """Return an event as Azure announces it."""
    what = {"EventType": kind, "EventStatus": "Scheduled", "EventSource": "Platform", "NotBefore": ""}
    return what | {"EventId": f"emulator-{kind}", "ResourceType": "VirtualMachine", "Resources": [node]}


def _check(request: Request) -> None:
    if request.headers.get("metadata") != "true":
        raise RefusalError(400, "BadRequest", "Bad request. The header Metadata: true is missing.")
