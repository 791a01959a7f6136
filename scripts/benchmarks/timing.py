"""Measure each case in a process of its own, which has nothing else in memory; medians of several rounds count."""

import json
import os
import pkgutil
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any


def run_python(*args: str, env: dict[str, str] | None = None) -> tuple[str, float]:
    """Run `python ARGS`; return its output and its wall time in seconds.

    Raises:
        SystemExit: it failed; what it printed is shown.
    """
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(done.args)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout, time.perf_counter() - started


def run_case(function: str, *args: object, env: dict[str, str] | None = None) -> Any:
    """Call a function such as "package.module:name" in a process of its own; return what it returns, by way of JSON."""
    out, _ = run_python("-m", "scripts.benchmarks.timing", function, json.dumps(args), env=env)
    return json.loads(out.splitlines()[-1])


def median(measurements: Iterable[dict[str, Any]], name: str) -> float:
    """Return the median of one figure of several measurements."""
    return statistics.median(one[name] for one in measurements)


def machine() -> str:
    """Return the processor's name, the number of cores, and Python's version."""
    from lightning_cifar.results import processor  # brings PyTorch

    return f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}"


def table(header: str, rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; its columns are aligned to the right, but for those whose title begins with `:`."""
    titles = header.split(" | ")
    lines = [[title.lstrip(":") for title in titles], ["---" if title.startswith(":") else "---:" for title in titles]]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [*lines, *rows])


if __name__ == "__main__":
    print(json.dumps(pkgutil.resolve_name(sys.argv[1])(*json.loads(sys.argv[2]))))
