"""How long the images take to be in memory, and how much memory they take meanwhile.

    python -m scripts.benchmarks.data --data FOLDER synthetic --rounds 3

Each measurement is a process of its own: the first one decodes or draws all images into an empty cache, the second one
finds them there. Memory is what the process grows by at its peak until it holds the training images, in relation to
their size as uint8. It is read from /proc, so this needs Linux.
"""

import argparse
import re
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
    args = parser.parse_args()
    rows = []
    for data in args.data:
        measured: dict[str, list[dict[str, Any]]] = {moment: [] for moment in MOMENTS}
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for moment in MOMENTS:
                    measured[moment].append(run_case("scripts.benchmarks.data:read", data, cache))
        for moment, results in measured.items():
            images = f"{results[0]['count']:,} of {Path(data).name}"
            rows.append([images, moment, f"{median(results, 'seconds'):.2f}", f"{median(results, 'memory'):.2f}"])
    print(f"{machine()}; medians of {args.rounds} rounds\n")
    print(table(":images | : | seconds | memory ÷ uint8", rows))


def read(data: str, cache: str) -> dict[str, float]:
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

    source = SyntheticSource(Path(cache)) if data == "synthetic" else FolderSource(Path(data), Path(cache))
    before, started = memory("VmRSS"), time.perf_counter()
    source.prepare()
    train = source.load("train")
    peak = memory("VmHWM")
    test = source.load("test")
    seconds = time.perf_counter() - started
    count = len(train.labels) + len(test.labels)
    return {"seconds": seconds, "memory": (peak - before) / train.images.nbytes, "count": count}


def memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes: `VmRSS`, this process's memory now; `VmHWM`, at its peak."""
    (kilobytes,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
