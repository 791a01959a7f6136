"""Measure each case in a process of its own, which has nothing else in memory; medians of several rounds count."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_case(module: str, *args: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run `python -m module ARGS`; return its last line of output, which is JSON.

    Raises:
        SystemExit: it failed; what it printed is shown.
    """
    command = [sys.executable, "-m", module, *map(str, args)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def wall_seconds(*args: str) -> float:
    """Return the wall time of `python ARGS` in seconds.

    Raises:
        CalledProcessError: it failed.
    """
    started = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, capture_output=True)
    return time.perf_counter() - started


def median(measurements: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of one figure of several measurements."""
    return statistics.median(one[name] for one in measurements)


def machine() -> str:
    """Return the processor's name, the number of cores, and Python's version."""
    name = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}"


def table(header: str, rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; all columns after the first text ones are aligned to the right.

    Args:
        header: the titles, separated by ` | `; one that begins with `:` is a text column.
        rows: the cells.
    """
    titles = header.split(" | ")
    lines = [[title.lstrip(":") for title in titles], ["---" if title.startswith(":") else "---:" for title in titles]]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [*lines, *rows])
