"""How fast `fit` is, beside the tutorial's own loop and beside the limit, which is the bare loop.

    python -m scripts.benchmarks.training --data FOLDER --rounds 5

Each measurement is a process of its own (scripts/benchmarks/cases.py); the cases take turns, and medians count.
"""

import argparse
import sys
import time
from collections import defaultdict

from scripts.benchmarks.timing import machine, median, run_case, table, wall_seconds
from scripts.emulator import Emulator

STEPS = {4: 1500, 32: 600, 128: 200, 512: 60}
"""Steps of a measurement at each batch size: about three seconds of the tutorial's loop."""

CASES = "scripts.benchmarks.cases"
IMPORTS = "import torch, torchvision, pytorch_lightning, torchmetrics, jsonargparse"

Key = tuple[str, str, int]  # device, network, batch size


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic", help="synthetic, cifar10 or a folder (default: %(default)s)")
    parser.add_argument("--data-dir", default="data", help="where CIFAR-10 and caches lie (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(STEPS), help="(default: %(default)s)")
    parser.add_argument("--no-azure", action="store_true", help="leave out the run inside a job of the emulator")
    args = parser.parse_args()

    import torch

    keys: list[Key] = [("cpu", "lightning_cifar.Net", size) for size in args.batch_sizes]
    if torch.cuda.is_available():
        nets = ("lightning_cifar.Net", "torchvision.models.resnet18")
        keys += [("cuda", net, size) for net in nets for size in args.batch_sizes]
    cases = ["tutorial", "limit", "fit", *([] if args.no_azure else ["fit in a job"])]
    data = ("--data", args.data, "--data-dir", args.data_dir)
    starts = {"imports": ["-c", IMPORTS], "--help": ["-m", "lightning_cifar", "--help"]}
    starts["first step"] = ["-m", CASES, "first-step", *data]
    measured: dict[tuple[str, Key], list[dict[str, float]]] = defaultdict(list)
    seconds: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(1, args.rounds + 1):
        for key in keys:
            for case in cases:
                progress(f"round {number} of {args.rounds}: {case}, {key[0]}, batch {key[2]}")
                measured[case, key].append(measure(case, key, data))
        for name, command in starts.items():
            progress(f"round {number} of {args.rounds}: {name}")
            seconds[name].append({"seconds": wall_seconds(*command)})
    rows = [speed(case, key, measured) for key in keys for case in cases]
    card = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    print(f"{machine()}, PyTorch {torch.__version__}{card}; {args.data}; medians of {args.rounds} rounds\n")
    print(table(":device, network, batch | :case | ms per step | images/s | ÷ tutorial | ÷ limit | peak memory*", rows))
    print("\n\\* of the training process, without the tutorial's two workers; on a GPU, of its memory.\n")
    imports = median(seconds["imports"], "seconds")
    medians = {name: median(values, "seconds") for name, values in seconds.items()}
    print(table(":start | seconds | ÷ imports", [[n, f"{s:.2f}", f"{s / imports:.2f}"] for n, s in medians.items()]))
    for key in [] if args.no_azure else keys[: len(args.batch_sizes)]:
        progress(f"AzureMLLogger in a job, batch {key[2]}")
        cost = measure("logging", key, data)
        ratio, calls, start = cost["ratio"], cost["calls"], cost["start"]
        print(
            f"\nIn a job, batch {key[2]}: with AzureMLLogger ÷ without at most {ratio:.4f} (of it {calls:.4f} in its",
            end="",
        )
        print(f" calls), and {start:.1f} s of one core to start its processes.")


def measure(case: str, key: Key, data: tuple[str, ...]) -> dict[str, float]:
    """Run one case; `fit in a job` and `logging` inside a job of the emulator."""
    device, net, size = key
    args = ["fit" if case.startswith("fit") else case, *data, "--device", device, "--net", net]
    args += ["--batch-size", str(size), "--steps", str(STEPS.get(size, 200))]
    if case not in ("fit in a job", "logging"):
        return run_case(CASES, *args)
    with Emulator() as azure:
        return run_case(CASES, *args, env=azure.job_environment(f"benchmark-{time.time_ns()}"))


def speed(case: str, key: Key, measured: dict[tuple[str, Key], list[dict[str, float]]]) -> list[object]:
    """Return a row of the table."""
    ms, tutorial, limit = (median(measured[name, key], "ms") for name in (case, "tutorial", "limit"))
    name = f"{key[0]}, {key[1].rpartition('.')[2]}, {key[2]}"
    peak = f"{median(measured[case, key], 'peak_mb'):,.0f} MB"
    return [name, case, f"{ms:.2f}", f"{key[2] / ms * 1000:,.0f}", f"{ms / tutorial:.2f}", f"{ms / limit:.2f}", peak]


def progress(what: str) -> None:
    """Print what is being measured."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
