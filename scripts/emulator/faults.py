"""How the service misbehaves: which requests, how, and how often."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.emulator.messages import RefusalError, Response

KINDS = ("latency", "drop", "store-and-drop", "silence", "refuse", "expired")


@dataclass
class Fault:
    """One kind of misbehaviour, on some routes, until it is used up or lifted.

    Args:
        kind: one of `KINDS`, or an HTTP status from "400" to "599".
        on: a group of routes ("metrics", "artifacts", "blobs", "history", "execution", "snapshots", "environments",
            "computes", "datastores", "models", "management" or "login", of SDK v2 also "assets" and "jobs"), or a
            regular expression searched in host + path; None: every request.
        requests: lifted after so many hits; None: no limit.
        delay: seconds that "latency" adds to each request.
        retry_after: header of that name in an answer that is a status: seconds, or an HTTP date.

    `hits` counts the requests it met (a "refuse" meets none: nothing listens).

    Raises:
        ValueError: for an unknown kind, or "latency" without a delay.
    """

    kind: str
    on: str | None = None
    requests: int | None = None
    delay: float | None = None
    retry_after: str | None = None
    hits: int = field(default=0, init=False)
    lifted: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not re.fullmatch("[45][0-9][0-9]", self.kind):
            kinds = ", ".join(KINDS)
            raise ValueError(f"unknown misbehaviour {self.kind!r}: use one of {kinds}, or a status such as 500")
        if self.kind == "latency" and self.delay is None:
            raise ValueError("misbehaviour 'latency' needs delay= in seconds")
        if self.kind == "refuse" and not (self.on is None and self.requests is None):
            raise ValueError("misbehaviour 'refuse' is for the whole service, until it is lifted")

    def meets(self, group: str, address: str) -> bool:
        """Return whether it would hit a request of a route group (`group`) at `address` (host + path)."""
        if self.requests is not None and self.hits >= self.requests:
            return False
        return self.on is None or self.on == group or re.search(self.on, address) is not None


class Faults:
    """The faults in force, asked once per request."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Put a fault in force, after those that are there already."""
        with self._lock:
            self._faults.append(fault)

    def lift_all(self) -> None:
        """End every fault: a silence that is used up still holds the requests it has hit."""
        with self._lock:
            for fault in self._faults:
                fault.lifted.set()
            self._faults = []

    def strike(self, group: str, address: str) -> list[Fault]:
        """Return the faults that hit this request, and count it: all latencies, then at most one other."""
        with self._lock:
            concerned = [fault for fault in self._faults if fault.meets(group, address)]
            struck = [fault for fault in concerned if fault.kind == "latency"]
            struck += [fault for fault in concerned if fault.kind not in ("latency", "refuse")][:1]
            for fault in struck:
                fault.hits += 1
            return struck


def misbehave(faults: Sequence[Fault], process: Callable[[], Response], closing: threading.Event) -> Response | None:
    """Return what the client gets when its request meets faults; None: its connection is cut off.

    Args:
        faults: any number of "latency", then at most one of another kind but "refuse".
        process: answers the request properly; called only where the faults leave the request its effect.
        closing: set when the service goes down; ends latency. (Closing lifts all faults, which ends silence.)
    """
    late = sum(fault.delay or 0 for fault in faults)
    if late and closing.wait(late):
        return None
    fault = next((fault for fault in faults if fault.kind != "latency"), None)
    if fault is None:
        return process()
    if fault.kind == "drop":
        return None
    if fault.kind == "store-and-drop":
        process()
        return None
    if fault.kind == "silence":
        fault.lifted.wait()
        return None
    if fault.kind == "expired":
        return RefusalError(401, "ExpiredAuthenticationToken", "The access token has expired.").response()
    answer = RefusalError(int(fault.kind), "Misbehaving", "The emulator misbehaves on request.").response()
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = fault.retry_after
    return answer
