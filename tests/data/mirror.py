"""A web server that can be told to misbehave."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.deadline import deadline


@dataclass
class Mirror:
    """A web server with one file and one way to behave, which may change with every request."""

    data: bytes
    manners: list[str]
    """How each request is answered, the last for all that follow."""
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request so far."""
    asked: Callable[[], None] = lambda: None
    """Called with every request."""
    done: threading.Event = field(default_factory=threading.Event)
    """Ends what a silent or held mirror waits for."""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as told."""
        wanted = request.headers.get("Range")
        manner = self.manners[min(len(self.ranges), len(self.manners) - 1)]
        self.ranges.append(wanted)
        self.asked()
        data, start = self.data, 0
        if manner == "silent":
            self.done.wait(deadline(10))
            return
        if manner in ("404", "503"):
            request.send_error(int(manner))
            return
        if manner == "other size":
            data = b"<html>please sign in</html>"
        if manner == "wrong bytes":
            data = bytes(len(data))
        if wanted and manner != "ignores ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start:]
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        half = len(data) // 2
        if manner == "drops":
            request.wfile.write(data[:half])
        elif manner in ("stalls", "held"):
            request.wfile.write(data[:half])
            request.wfile.flush()
            self.done.wait(deadline(10))
            request.wfile.write(data[half:])
        elif manner == "trickles":
            for i in range(len(data)):
                request.wfile.write(data[i : i + 1])
                if self.done.wait(0.01):
                    return
        else:
            request.wfile.write(data)
