"""How fast `fit` is, beside the tutorial's own loop and beside the limit, which is the bare loop.

    python -m scripts.benchmarks.training --data FOLDER --rounds 5

Each measurement is a process of its own (scripts/benchmarks/cases.py); the cases take turns, and medians count.
"""

import argparse
import sys
import time
from collections import defaultdict

import torch

from scripts.benchmarks.cases import STEPS, Case
from scripts.benchmarks.timing import machine, median, run_case, run_python, table
from scripts.emulator import Emulator

IMPORTS = "import torch, torchvision, pytorch_lightning, torchmetrics, jsonargparse"
FIRST_STEP = "from scripts.benchmarks.cases import Case, first_step; first_step({!r})"

Measured = dict[tuple[str, Case], list[dict[str, float]]]


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic", help="synthetic, cifar10 or a folder (default: %(default)s)")
    parser.add_argument("--data-dir", default="data", help="where CIFAR-10 and caches lie (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (default: %(default)s)")
    parser.add_argument("--net", default="lightning_cifar.Net", help="its import path (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(STEPS), help="(default: %(default)s)")
    args = parser.parse_args()
    pairs = [("cpu", args.net)]
    if torch.cuda.is_available():
        pairs += [("cuda", args.net), ("cuda", "torchvision.models.resnet18")]
    cases = [Case(args.data, args.data_dir, *pair, size) for pair in pairs for size in args.batch_sizes]
    names = ["tutorial", "limit", "fit", "fit in a job"]
    starts = {"imports": ["-c", IMPORTS], "--help": ["-m", "lightning_cifar", "--help"]}
    starts["first step"] = ["-c", FIRST_STEP.format(Case(args.data, args.data_dir))]
    measured: Measured = defaultdict(list)
    seconds: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(1, args.rounds + 1):
        progress(f"round {number} of {args.rounds}")
        for case in cases:
            for name in names:
                measured[name, case].append(measure(name, case))
        for start, command in starts.items():
            seconds[start].append({"s": run_python(*command)[1]})
    card = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    print(f"{machine()}, PyTorch {torch.__version__}{card}; {args.data}; medians of {args.rounds} rounds\n")
    rows = [speed(name, case, measured) for case in cases for name in names]
    print(table(":device, network, batch | :case | ms per step | images/s | ÷ tutorial | ÷ limit | peak memory*", rows))
    for case in cases:
        share = 100 * median(measured["fit in a job", case], "logger") - 100
        print(f"\nAzureMLLogger in a job at batch {case.batch_size}: {share:+.1f} % of a step")
    print("\n\\* of the training process, without the tutorial's two workers; on a GPU, of its memory.\n")
    medians = {start: median(values, "s") for start, values in seconds.items()}
    rows = [[start, f"{s:.2f}", f"{s / medians['imports']:.2f}"] for start, s in medians.items()]
    print(table(":start | seconds | ÷ imports", rows))


def measure(name: str, case: Case) -> dict[str, float]:
    """Run one case; `fit in a job` inside a job of the emulator."""
    progress(f"{name}, {case.device}, batch {case.batch_size}")
    function = "scripts.benchmarks.cases:run"
    if name != "fit in a job":
        return run_case(function, name, *case)
    with Emulator() as azure:
        env = azure.job_environment(f"benchmark-{time.time_ns()}")
        return run_case(function, "in_job", *case, env=env)


def speed(name: str, case: Case, measured: Measured) -> list[object]:
    """Return a row of the table."""
    ms, tutorial, limit = (median(measured[one, case], "ms") for one in (name, "tutorial", "limit"))
    title = f"{case.device}, {case.net.rpartition('.')[2]}, {case.batch_size}"
    images, peak = case.batch_size / ms * 1000, median(measured[name, case], "peak_mb")
    return [title, name, f"{ms:.2f}", f"{images:,.0f}", f"{ms / tutorial:.2f}", f"{ms / limit:.2f}", f"{peak:,.0f} MB"]


def progress(what: str) -> None:
    """Print what is being measured."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
