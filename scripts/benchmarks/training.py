"""How fast is `fit`, beside the tutorial's own loop and beside the limit.

    python -m scripts.benchmarks.training --data FOLDER --rounds 5 --output .github/images/benchmark.png

Each measurement is a process of its own; the cases take turns, and the median of the rounds counts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

STEPS = {4: 1500, 32: 600, 128: 200, 512: 60}
"""Steps of a measurement at each batch size: about three seconds of the tutorial's loop."""

IMPORTS = "import torch, torchvision, pytorch_lightning, torchmetrics, jsonargparse"

Key = tuple[str, str, int]


def main() -> None:
    """Measure, print a table, draw a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="synthetic", help="cifar10, synthetic or a folder of images (default: %(default)s)"
    )
    parser.add_argument("--data-dir", default="data", help="where CIFAR-10 and caches lie (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(STEPS), help="(default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("results/benchmark.png"), help="the picture (default: %(default)s)"
    )
    parser.add_argument("--no-azure", action="store_true", help="leave out the run inside a job of the emulator")
    args = parser.parse_args()

    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    nets = {"cpu": ["lightning_cifar.Net"], "cuda": ["lightning_cifar.Net", "torchvision.models.resnet18"]}
    measured: dict[str, dict[Key, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    starts: dict[str, list[float]] = defaultdict(list)
    keys = [(device, net, size) for device in devices for net in nets[device] for size in args.batch_sizes]
    cases = ["tutorial", "limit", "fit", *([] if args.no_azure else ["fit in a job"])]
    in_job = [] if args.no_azure else [key for key in keys if key[0] == "cpu"]
    logging: dict[Key, dict[str, float]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=args.rounds * (len(keys) * len(cases) + 3) + len(in_job))
        for _ in range(args.rounds):
            for key in keys:
                for case in cases:
                    progress.update(task, description=f"{case}, batch {key[2]}", advance=1)
                    measured[case][key].append(measure(case, key, args))
            for name, command in start_commands(args).items():
                progress.update(task, description=name, advance=1)
                starts[name].append(seconds(command))
        for key in in_job:
            progress.update(task, description=f"AzureMLLogger, batch {key[2]}", advance=1)
            logging[key] = measure("logging", key, args)
    text = report(measured, keys, starts, args)
    for key, cost in logging.items():
        text += f"\n\nIn a job, batch {key[2]}: with AzureMLLogger ÷ without at most {cost['ratio']:.4f}, "
        text += f"and {cost['start']:.1f} s of one core to start its processes."
    Console().print(Markdown(text)) if sys.stdout.isatty() else print(text)
    draw(measured, keys, args.output)
    print(f"\npicture: {args.output}")


def measure(case: str, key: Key, args: argparse.Namespace) -> dict[str, float]:
    """Run one case in a process of its own, inside a job of the loopback Azure ML where it says so."""
    device, net, size = key
    command = [
        *(sys.executable, "-m", "scripts.benchmarks.cases", "fit" if case.startswith("fit") else case),
        *("--data", args.data, "--data-dir", args.data_dir, "--batch-size", str(size)),
        *("--steps", str(STEPS.get(size, 200)), "--device", device, "--net", net),
    ]
    if case not in ("fit in a job", "logging"):
        return run(command, None)
    from scripts.emulator import Emulator

    with Emulator() as azure:
        return run(command, azure.job_environment(f"benchmark-{time.time_ns()}"))


def run(command: list[str], env: dict[str, str] | None) -> dict[str, float]:
    """Run a case; its last line is its result.

    Raises:
        SystemExit: it failed; what it printed is shown.
    """
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def start_commands(args: argparse.Namespace) -> dict[str, list[str]]:
    """Name the commands whose whole duration is measured."""
    python = [sys.executable]
    return {
        "imports": [*python, "-c", IMPORTS],
        "--help": [*python, "-m", "lightning_cifar", "--help"],
        "first step": [
            *python,
            "-m",
            "scripts.benchmarks.cases",
            "first-step",
            "--data",
            args.data,
            "--data-dir",
            args.data_dir,
        ],
    }


def seconds(command: list[str]) -> float:
    """Give the wall time of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def median(measurements: list[dict[str, float]], name: str) -> float:
    """Give the median of one figure over the rounds."""
    return statistics.median(one[name] for one in measurements)


def report(
    measured: dict[str, dict[Key, list[dict[str, float]]]],
    keys: list[Key],
    starts: dict[str, list[float]],
    args: argparse.Namespace,
) -> str:
    """Put the medians into Markdown."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    machine = f"{processor()}, {os.cpu_count()} cores{gpu}; {versions}"
    lines = [
        f"{machine}; medians of {args.rounds} rounds; data: {Path(args.data).name}",
        "",
        "| device, network, batch | | ms per step | images/s | ÷ tutorial | ÷ limit | peak memory* |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for key in keys:
        tutorial, floor = median(measured["tutorial"][key], "ms"), median(measured["limit"][key], "ms")
        for case in measured:
            ms = median(measured[case][key], "ms")
            rate, peak = key[2] / ms * 1000, median(measured[case][key], "peak_mb")
            name = f"{key[0]}, {key[1].rpartition('.')[2]}, {key[2]}"
            ratios = f"{ms / tutorial:.2f} | {ms / floor:.2f}"
            lines.append(f"| {name} | {case} | {ms:.2f} | {rate:,.0f} | {ratios} | {peak:,.0f} MB |")
    lines += ["", "\\* of the training process, where the tutorial's two workers come on top; on a GPU, of its memory."]
    lines += ["", "| start | seconds | ÷ imports |", "|---|---:|---:|"]
    imports = statistics.median(starts["imports"])
    for name, values in starts.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {statistics.median(values) / imports:.2f} |")
    return "\n".join(lines)


def processor() -> str:
    """Name the processor, as Linux does."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def draw(measured: dict[str, dict[Key, list[dict[str, float]]]], keys: list[Key], output: Path) -> None:
    """Draw images per second of each case as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(measured)
    for place, case in enumerate(measured):
        rates = [key[2] / median(measured[case][key], "ms") * 1000 for key in keys]
        bars = axes.bar([index + place * width for index in range(len(keys))], rates, width, label=case)
        axes.bar_label(bars, fmt="{:,.0f}", size=6)
    middle = (len(measured) - 1) * width / 2
    axes.set_xticks(
        [i + middle for i in range(len(keys))], [f"{d}, {n.rpartition('.')[2]},\nbatch {b}" for d, n, b in keys]
    )
    several = len({device for device, _, _ in keys}) > 1  # a GPU would leave of the others nothing to see
    axes.set(ylabel="images per second", yscale="log" if several else "linear", title="Training speed")
    axes.legend()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)


if __name__ == "__main__":
    main()
