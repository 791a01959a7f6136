"""A web server that can be told to misbehave."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler


@dataclass
class Mirror:
    """A web server with one file and one way to behave, which may change with every request."""

    data: bytes
    manners: list[str]
    """How each request is answered, the last for all that follow."""
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request so far."""
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as told."""
        wanted = request.headers.get("Range")
        manner = self.manners[min(len(self.ranges), len(self.manners) - 1)]
        self.ranges.append(wanted)
        data, start = self.data, 0
        if manner == "silent":
            self.done.wait(20)
            return
        if manner in ("404", "416", "503"):
            request.send_error(int(manner))
            return
        if manner == "other size":
            data = b"<html>please sign in</html>"
        if manner == "wrong bytes":
            data = bytes(len(data))
        if wanted and manner != "ignores ranges":
            first, last = wanted.removeprefix("bytes=").split("-")
            start = int(first)
            stop = int(last) + 1 if last else len(data)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            data = data[start:stop]
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        half = len(data) // 2
        if manner == "drops":
            request.wfile.write(data[:half])
        elif manner == "stalls":
            request.wfile.write(data[:half])
            request.wfile.flush()
            self.done.wait(20)
        elif manner == "trickles":
            for i in range(len(data)):
                request.wfile.write(data[i : i + 1])
                if self.done.wait(0.1):
                    return
        elif manner == "slow":
            for i in range(0, len(data), len(data) // 8):
                request.wfile.write(data[i : i + len(data) // 8])
                time.sleep(0.1)
        else:
            request.wfile.write(data)
