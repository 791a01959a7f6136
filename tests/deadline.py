"""How long tests wait: for events, and never so short that a slow or busy machine fails them."""

import os
import time
from collections.abc import Callable
from typing import Any

PATIENCE = float(os.environ.get("TEST_PATIENCE", "10"))
"""How many times longer than a quiet machine's time a test waits before it fails; TEST_PATIENCE changes it."""


def deadline(seconds: float) -> float:
    """Return the limit, in seconds, for what takes `seconds` on a quiet machine."""
    return seconds * PATIENCE


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for a condition to hold, and return its value; fail after `deadline(seconds)`."""
    until = time.monotonic() + deadline(seconds)
    while not (value := condition()):
        assert time.monotonic() < until, f"not so within {deadline(seconds):.0f} s"
        time.sleep(0.02)
    return value
