"""Read durations as people write them: `90s`, `10m`, `3.5h`, `1d`."""

import re
from argparse import ArgumentTypeError

from jsonargparse.typing import register_type

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _NoDurationError(ArgumentTypeError, ValueError):
    """What argparse shows as it is, and jsonargparse takes for a value that does not fit."""


class Duration(int):
    """Whole seconds, at least one; without a unit the text is seconds. A type for argparse and for LightningCLI."""

    def __new__(cls, text: str | int) -> "Duration":
        """Read a duration."""
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", str(text).strip().lower())
        seconds = int(float(match[1]) * _SECONDS[match[2] or "s"]) if match else 0
        if seconds < 1:
            raise _NoDurationError(f"{text!r} is no duration; write for instance 3.5h, 90m or 1d")
        return super().__new__(cls, seconds)


register_type(Duration, serializer=int)
