"""What a request and an answer are, and which route a request takes."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from scripts.emulator.state import State

# The scope that most of Azure ML's addresses contain; resource names are not case-sensitive in Azure.
WORKSPACE = (
    "/subscriptions/{subscription}/resourceGroups/{group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)


@dataclass
class Request:
    """One request as it arrived.

    `route` is the group of its route ("metrics"; "" if no route is known), `path` is not yet unquoted, `body`
    is unpacked, `arrived` is `time.monotonic()`, `status` the answer's (0: no answer was sent), `fault` the
    misbehaviour it met.
    """

    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    arrived: float
    route: str = ""
    status: int = 0
    fault: str = ""

    def json(self) -> Any:
        """Return the body parsed as strict JSON: the literals NaN and Infinity are no JSON.

        Raises:
            RefusalError: 400, as the service answers a body that it cannot parse.
        """
        try:
            return json.loads(self.body or b"null", parse_constant=_refuse_constant)
        except ValueError as error:
            raise RefusalError(400, "BadArgument", f"The request body is not valid JSON: {error}") from error


@dataclass
class Response:
    """An answer: status, body and headers; the content type is JSON unless the headers say otherwise."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any) -> "Response":
        """Make an answer of what a route returned: a `Response`, None (no body), or content for JSON."""
        if isinstance(content, Response):
            return content
        if content is None:
            return cls()
        return cls(body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})


class RefusalError(Exception):
    """An answer that is an error, in the form of Azure ML's services."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """Return it as an answer."""
        # Azure Resource Manager, Azure ML's own services and the sign-in each read another part of this.
        content = {
            "error": {"code": self.code, "message": self.message, "details": []},
            "error_description": f"{self.code}: {self.message}",
            "statusCode": self.status,
            "message": self.message,
            "code": self.code,
        }
        answer = Response.of(content)
        answer.status = self.status
        answer.headers.update(headers or {})
        return answer


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
    """The routes of one group of addresses; a module's functions are entered by decorator.

    Args:
        group: the name by which misbehaviour and tests refer to them.
        host: a regular expression for the whole host name.
        public: whether requests come without a bearer token.
    """

    def __init__(self, group: str, host: str, public: bool = False) -> None:
        self._group, self._host, self._public = group, re.compile(host), public
        self.routes: list[Route] = []

    def __call__(self, method: str, template: str) -> Callable[[Handler], Handler]:
        """Enter the decorated function for a path such as `/a/{name}/b`; `{name:path}` may contain slashes.

        The function is called with the state, the request, and the parameters by name, unquoted.
        """
        pattern = ""
        for literal, name, kind in re.findall(r"([^{]*)(?:\{(\w+)(?::(\w+))?\})?", template):
            pattern += re.escape(literal)
            if name:
                pattern += f"(?P<{name}>{'.*' if kind == 'path' else '[^/]+'})"

        def enter(handler: Handler) -> Handler:
            path = re.compile(pattern + "/?", re.IGNORECASE)
            self.routes.append(Route(self._group, method, self._host, path, handler, self._public))
            return handler

        return enter


class Router:
    """Finds the route of a request."""

    def __init__(self, groups: Iterable[Routes]) -> None:
        self._routes = [route for routes in groups for route in routes.routes]

    def knows_host(self, host: str) -> bool:
        """Tell whether any route answers as this host."""
        return any(route.host.fullmatch(host) for route in self._routes)

    def find(self, method: str, host: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route and its parameters, or None if the emulator does not know the request."""
        for route in self._routes:
            if route.method == method and route.host.fullmatch(host) and (match := route.path.fullmatch(path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def call(route: Route, state: "State", request: Request, parameters: dict[str, str]) -> Response:
    """Answer a request by its route."""
    scope = {name: value for name, value in parameters.items() if name in _SCOPE}
    wanted = {name: value for name, value in parameters.items() if name not in _SCOPE}
    try:
        if not route.public:
            check_token(request.headers.get("authorization", ""))
        if scope:
            state.check_scope(**scope)
        return Response.of(route.handler(state, request, **wanted))
    except RefusalError as refusal:
        return refusal.response()
    except Exception as error:
        state.note_unexpected(f"internal error at {request.method} {request.path}: {error!r}")
        return RefusalError(500, "StandInError", repr(error)).response()


_SCOPE = {"subscription", "group", "workspace"}


def check_token(authorization: str) -> None:
    """Look whether a request carries a token that is still valid.

    Raises:
        RefusalError: 401, if it does not.
    """
    try:
        part = authorization.removeprefix("Bearer ").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError) as error:
        raise RefusalError(401, "InvalidAuthenticationToken", "The access token is missing or invalid.") from error
    if claims.get("exp", 0) < time.time():
        raise RefusalError(401, "ExpiredAuthenticationToken", "The access token has expired.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
