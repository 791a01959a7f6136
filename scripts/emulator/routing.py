"""Which function answers a request."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.state import State
from scripts.emulator.tokens import check_token

# The scope that most of Azure ML's addresses contain; resource names are not case-sensitive in Azure.
WORKSPACE = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
_SCOPE = {"subscription", "group", "workspace"}

SERVICES = r".*\.api\.azureml\.ms|.*\.experiments\.azureml\.net"
"""Hosts of Azure ML's own services."""

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Route:
    """Patterns of method, host and path, with the function that answers, and the group it belongs to.

    A route that is `public` needs no bearer token.
    """

    group: str
    method: str
    host: re.Pattern[str]
    path: re.Pattern[str]
    handler: Handler
    public: bool


class Routes:
    """The routes of one group of addresses; a module's functions are registered by decorator.

    Misbehaviour and tests refer to them by `group`; `host` is a regular expression for the whole host name; requests to
    `public` ones come without a bearer token.
    """

    def __init__(self, group: str, host: str, public: bool = False) -> None:
        self._group, self._host, self._public = group, re.compile(host), public
        self.routes: list[Route] = []

    def __call__(self, method: str, *templates: str) -> Callable[[Handler], Handler]:
        """Register the decorated function for paths such as `/a/{name}/b`; `{name:path}` may contain slashes.

        The function is called with the state, the request, and the parameters by name, unquoted.
        """

        def enter(handler: Handler) -> Handler:
            for template in templates:
                path = re.compile(_pattern(template) + "/?", re.IGNORECASE)
                self.routes.append(Route(self._group, method, self._host, path, handler, self._public))
            return handler

        return enter


def _pattern(template: str) -> str:
    literal = template.replace(".", r"\.")
    return re.sub(r"\{(\w+)(:path)?\}", lambda found: f"(?P<{found[1]}>{'.*' if found[2] else '[^/]+'})", literal)


class Router:
    """Finds the route of a request."""

    def __init__(self, groups: Iterable[Routes]) -> None:
        self._routes = [route for routes in groups for route in routes.routes]

    def knows_host(self, host: str) -> bool:
        """Return whether any route answers as this host."""
        return any(route.host.fullmatch(host) for route in self._routes)

    def find(self, method: str, host: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route and its parameters, or None if the emulator does not know the request."""
        for route in self._routes:
            if route.method == method and route.host.fullmatch(host) and (match := route.path.fullmatch(path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def call(route: Route, state: State, request: Request, parameters: dict[str, str]) -> Response:
    """Answer a request by its route; the state is the handler's alone meanwhile."""
    scope = {name: value for name, value in parameters.items() if name in _SCOPE}
    wanted = {name: value for name, value in parameters.items() if name not in _SCOPE}
    try:
        if not route.public:
            check_token(request.headers.get("authorization", ""))
        if scope:
            state.check_scope(**scope)
        with state.changed:
            response = Response.of(route.handler(state, request, **wanted))
            state.changed.notify_all()
        return response
    except RefusalError as refusal:
        return refusal.response()
    except Exception as error:
        state.note_unexpected(f"internal error at {request.method} {request.path}: {error!r}")
        return RefusalError(500, "EmulatorError", repr(error)).response()
