"""What a request and an answer are."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as it arrived.

    `route` is the group of its route ("metrics"; "" if no route is known), `path` is not yet unquoted, `arrived` is
    `time.monotonic()`, `status` the answer's (0: no answer was sent), `fault` the misbehaviour it met.
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
        """Return the body parsed as strict JSON; refuse (400) all else, the literals NaN and Infinity included."""
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
    def of(cls, content: Any, status: int = 200) -> "Response":
        """Make an answer of what a route returned: a `Response`, None (no body), or content for JSON."""
        if isinstance(content, Response):
            return content
        if content is None:
            return cls(status)
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class RefusalError(Exception):
    """An answer that is an error, in the form of Azure ML's services."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """Return it as an answer."""
        # Azure Resource Manager, Azure ML's own services and the sign-in each read another part of this.
        content = {
            "error": {"code": self.code, "message": self.message, "details": []},
            "error_description": f"{self.code}: {self.message}",
            "statusCode": self.status,
            "message": self.message,
            "code": self.code,
        }
        return Response.of(content, self.status)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
