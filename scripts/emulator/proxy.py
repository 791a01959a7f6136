"""The proxy: ends every tunnel itself, asks the routes for an answer, forwards nothing, on loopback only.

It answers whoever was told its password: what is submitted to it is run. No web page was, wherever the page's host name
leads (DNS rebinding), nor was another user of this machine.
"""

import base64
import contextlib
import hmac
import secrets
import socket
import socketserver
import struct
import sys
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from scripts.emulator.ca import CertificateAuthority
from scripts.emulator.faults import Fault, Faults, misbehave
from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.routing import Router, call
from scripts.emulator.state import State

LOOPBACK = "127.0.0.1"
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # of Linux
_USER = "emulator"


class Proxy:
    """An HTTPS proxy that is the far end, too: a host without a route gets 403, a path without one gets 501."""

    def __init__(self, state: State, router: Router, authority: CertificateAuthority) -> None:
        self.state, self.router, self.authority, self.faults = state, router, authority, Faults()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)  # bound, and so in possession of its port, even where it does not listen
        self._listening = False
        self.port = self._server.server_address[1]
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """Return its address, with the password."""
        return f"http://{_USER}:{self._password}@{LOOPBACK}:{self.port}"

    def lets_in(self, path: str, headers: Message) -> bool:
        """Return whether a request brings the password, or is for this address itself and of no web page's."""
        wanted = b"Basic " + base64.b64encode(f"{_USER}:{self._password}".encode())
        if hmac.compare_digest(headers.get("Proxy-Authorization", "").encode(), wanted):
            return True
        return path.startswith("/") and headers.get("Host") == f"{LOOPBACK}:{self.port}" and "Origin" not in headers

    def start(self) -> None:
        """Listen on a free port; after `refuse`, on the same port again."""
        with self._lock:
            if self._listening or self.closing.is_set():
                return
            self._listening = True
            self._server.server_activate()
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        """Drop every connection and refuse new ones until `start`."""
        with self._lock:
            self._stop()
            self._server = _Server(self, self.port)

    def close(self) -> None:
        """Stop for good; requests that are being held (latency, silence) end at once."""
        self.faults.lift_all()
        self.closing.set()
        with self._lock:
            self._stop()

    def misbehave(self, kind: str, on: str | None = None, **limits: Any) -> Fault:
        """Put a fault in force and return it; see `Fault` for the arguments.

        Raises:
            ValueError: for an unknown kind.
        """
        fault = Fault(kind, on, **limits)
        self.faults.add(fault)
        if kind == "refuse":
            self.refuse()
        return fault

    def behave(self) -> None:
        """Lift all faults; after a "refuse" listen again."""
        self.faults.lift_all()
        self.start()

    def _stop(self) -> None:
        if self._listening:
            self._server.shutdown()
        self._listening = False
        self._server.server_close()
        for connection in list(self._server.open):
            connection.reset()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy, port: int = 0) -> None:
        self.proxy = proxy
        self.open: set[_Connection] = set()
        super().__init__((LOOPBACK, port), _Connection, bind_and_activate=False)
        self.server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        # Clients may hang up at any time, and a test's killed processes do; anything else is our mistake.
        if not isinstance(error, OSError):
            self.proxy.state.note_unexpected(f"internal error: {error!r}")
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One client connection: in the clear until CONNECT, then TLS with the client's host."""

    protocol_version = "HTTP/1.1"
    server: _Server
    host = ""  # the tunnel's; "" before CONNECT
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self)

    def finish(self) -> None:
        self.server.open.discard(self)
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def reset(self) -> None:
        """Cut the connection off so that its peer notices at once, in whatever it is doing."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def do_CONNECT(self) -> None:
        proxy = self.server.proxy
        host = self.path.rsplit(":", 1)[0].strip("[]").lower()
        if self._is_stranger():
            return
        if not proxy.router.knows_host(host):
            proxy.state.note_unexpected(f"unknown host: CONNECT {host}")
            self.send_error(403, "unknown host")
            return
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        self.host = host
        self.request = proxy.authority.context(host).wrap_socket(self.connection, server_side=True)
        self.setup()
        self.close_connection = False

    def _is_stranger(self) -> bool:
        """Refuse a request from whoever was not told the password; return whether it is one."""
        if self.host or self.server.proxy.lets_in(self.path, self.headers):
            return False
        self.server.proxy.state.note_unexpected(f"without the proxy's password: {self.command} {self.path}")
        self.send_error(407, "the password is in the proxy's address")
        return True

    def answer(self) -> None:
        if self._is_stranger():
            return
        request = self._read()
        response = self._response(request)
        if response is None:
            self.reset()
            return
        request.status = response.status
        self._send(response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815

    def _response(self, request: Request) -> Response | None:
        """Return the answer; None: the connection is cut off."""
        proxy, address = self.server.proxy, f"{request.method} {request.host}{request.path}"
        found = proxy.router.find(request.method, request.host, request.path)
        if found:
            request.route = found[0].group
        with proxy.state.lock:
            proxy.state.requests.append(request)
        if not proxy.router.knows_host(request.host):
            proxy.state.note_unexpected(f"unknown host: {address}")
            return RefusalError(403, "UnknownHost", "the emulator forwards nothing").response()
        if found is None:
            proxy.state.note_unexpected(f"unknown route: {address}")
            return RefusalError(501, "NotImplemented", "the emulator does not know this request").response()
        route, parameters = found
        struck = proxy.faults.strike(request.route, request.host + request.path)
        request.fault = struck[-1].kind if struck else ""
        return misbehave(struck, lambda: call(route, proxy.state, request, parameters), proxy.closing)

    def _read(self) -> Request:
        arrived = time.monotonic()
        target = urlsplit(self.path)
        # Requests outside a tunnel name their host in the request line, or speak to this address itself.
        host = self.host or (target.hostname or (self.headers.get("Host") or "").rsplit(":", 1)[0]).lower()
        headers = {name.lower(): value for name, value in self.headers.items()}
        if QUICKACK is not None:  # urllib3 sends to a proxy by Nagle's algorithm: the body waits 40 ms for it
            self.connection.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        body = self.rfile.read(int(headers.get("content-length") or 0))
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Request(self.command, host, target.path, query, headers, body, arrived)

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        headers = {"Content-Length": str(len(response.body)), "Date": self.date_time_string()} | response.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the state records every request."""
