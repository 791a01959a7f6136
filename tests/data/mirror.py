"""A web server that can be told to misbehave."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.deadline import deadline


class Mirror(ThreadingHTTPServer):
    """A web server with one file and one way to behave, which may change with every request.

    Args:
        data: the file.
        manners: how each request is answered, the last for all that follow.
    """

    daemon_threads = True

    def __init__(self, data: bytes, manners: list[str]) -> None:
        self.data, self.manners = data, manners
        self.ranges: list[str | None] = []  # the Range header of each request so far
        self.done = threading.Event()  # ends what a silent or held mirror waits for

        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/archive"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.done.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *args: object) -> None:
        """The other side hanging up is part of the tests."""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as told."""
        wanted = request.headers.get("Range")
        manner = self.manners[min(len(self.ranges), len(self.manners) - 1)]
        self.ranges.append(wanted)
        if manner == "silent":
            self.done.wait(deadline(10))
            return
        if manner == "404":
            request.send_error(404)
            return
        data = {"other size": b"<html>please sign in</html>", "wrong bytes": bytes(len(self.data))}.get(
            manner, self.data
        )
        start = 0
        if wanted and manner != "ignores ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        request.send_response(206 if start else 200)
        request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        data = data[start:]
        half = len(data) // 2
        if manner == "drops":
            request.wfile.write(data[:half])
        elif manner == "stalls":
            request.wfile.write(data[:half])
            request.wfile.flush()
            self.done.wait(deadline(10))
            request.wfile.write(data[half:])
        else:
            request.wfile.write(data)
