"""How long the training process may go on waiting for its forwarders: one limit for all of its loggers."""

import os
import time
from collections.abc import Iterable

from lightning_cifar.azure.process import RelayedOutbox

# Part of the time limit that is left for everything else that a process does at its end: on an overloaded
# machine, ending the interpreter with PyTorch in it took over 10 s.
_MARGIN = 0.25
# Who waits again so soon after a wait in vain still waits for the same end.
_ROW_SECONDS = 5.0


class Deadline:
    """Waits in a row share one limit: neither a `test` after a `fit` nor a second logger waits it out again.

    A row is over when everything has arrived; or when the service has taken something since its last wait, so
    that another one is no longer in vain, and the process has gone on for some seconds.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._spools: list[RelayedOutbox] = []
        self._until: float | None = None
        self._settled = 0
        self._waited_at = 0.0

    def add(self, spools: Iterable[RelayedOutbox]) -> None:
        """Count these among what the process waits for."""
        if self._pid != os.getpid():  # a fork: what the parent waits for is no business of this process
            self._begin()
        self._spools += spools

    def remove(self, spools: Iterable[RelayedOutbox]) -> None:
        """Count these no longer."""
        gone = list(spools)
        self._spools = [spool for spool in self._spools if spool not in gone]

    def until(self, seconds: float) -> float:
        """Return when (`time.monotonic()`) a wait that begins now, of at most `seconds`, has to give up."""
        now = time.monotonic()
        limit = now + seconds * (1 - _MARGIN)
        over = now > self._waited_at + _ROW_SECONDS and self._sum() > self._settled
        self._until = limit if self._until is None or over else min(self._until, limit)
        return self._until

    def waited(self) -> None:
        """Say that a wait has ended, in vain or not."""
        self._settled, self._waited_at = self._sum(), time.monotonic()
        if all(spool.settled for spool in self._spools if spool.used):
            self._until = None

    def _sum(self) -> int:
        return sum(spool.progress.offset for spool in self._spools if spool.used)


DEADLINE = Deadline()
