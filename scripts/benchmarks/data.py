"""How long the images take to be there, and how much memory they take.

    python -m scripts.benchmarks.data --data FOLDER --rounds 3

Each measurement is a process of its own: the first one decodes or draws all images into an empty cache, the second one
finds them there. Medians count. Memory is what the process grows by at its peak while it reads the training images, in
relation to their size as uint8.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.training import processor

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
    print(f"{processor()}; medians of {args.rounds} rounds\n")
    print("| images | | seconds | memory ÷ uint8 |\n|---|---|---:|---:|")
    for data in args.data:
        measured: dict[str, list[dict[str, Any]]] = {moment: [] for moment in MOMENTS}
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for moment in MOMENTS:
                    measured[moment].append(in_a_process(data, cache))
        for moment, results in measured.items():
            seconds, memory = (statistics.median(one[name] for one in results) for name in ("seconds", "memory"))
            images = f"{results[0]['count']:,} of {Path(data).name}"
            print(f"| {images} | {moment} | {seconds:.2f} | {memory:.2f} |")


def in_a_process(data: str, cache: str) -> dict[str, Any]:
    """Run `read` in a process of its own, which has nothing else in memory."""
    command = [sys.executable, "-m", "scripts.benchmarks.data", "--read", data, cache]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read(data: str, cache: Path) -> dict[str, Any]:
    """Bring both splits into memory, as the data module does.

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
    """Give what Linux says of this process's memory in bytes: `VmRSS` now, `VmHWM` at its peak."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"no {name} in /proc/self/status: this benchmark needs Linux")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
