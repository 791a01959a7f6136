"""How long the images take to be in memory, and how much memory they take meanwhile.

    python -m scripts.benchmarks.data --data FOLDER synthetic --rounds 3

Each measurement is a process of its own: the first one decodes or draws all images into an empty cache, the second one
finds them there. Memory is what the process grows by at its peak until it holds the training images, in relation to
their size as uint8.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.timing import machine, median, run_case, table

MOMENTS = ("first time", "from the cache")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic"], help="synthetic, or folders of images")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (default: %(default)s)")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(args.read[0], Path(args.read[1]))))
        return
    rows = []
    for data in args.data:
        measured: dict[str, list[dict[str, Any]]] = {moment: [] for moment in MOMENTS}
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for moment in MOMENTS:
                    measured[moment].append(run_case("scripts.benchmarks.data", "--read", data, cache))
        for moment, results in measured.items():
            images = f"{results[0]['count']:,} of {Path(data).name}"
            rows.append([images, moment, f"{median(results, 'seconds'):.2f}", f"{median(results, 'memory'):.2f}"])
    print(f"{machine()}; medians of {args.rounds} rounds\n")
    print(table(":images | : | seconds | memory ÷ uint8", rows))


def read(data: str, cache: Path) -> dict[str, Any]:
    """Read both splits into memory, as the data module does.

    Args:
        data: `synthetic`, or a folder of images.
        cache: where decoded or drawn images are kept.

    Returns:
        `seconds` for all images; `memory`, the growth of the process at its peak up to the moment when it holds the
        training images, ÷ their size as uint8; `count` of images.
    """
    import torch  # noqa: F401  # so that its memory does not count

    from lightning_cifar.data.folder import FolderSource
    from lightning_cifar.data.synthetic import SyntheticSource

    source = SyntheticSource(cache) if data == "synthetic" else FolderSource(Path(data), cache)
    before, started = memory("VmRSS"), time.perf_counter()
    source.prepare()
    train = source.load("train")
    peak = memory("VmHWM")
    test = source.load("test")
    seconds = time.perf_counter() - started
    count = len(train.labels) + len(test.labels)
    return {"seconds": seconds, "memory": (peak - before) / train.images.nbytes, "count": count}


def memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes: `VmRSS`, this process's memory now; `VmHWM`, at its peak.

    Raises:
        SystemExit: this is not Linux.
    """
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+) kB", status.read_text() if status.exists() else "", re.MULTILINE)
    if found is None:
        sys.exit(f"no {name} in {status}: this benchmark needs Linux")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
