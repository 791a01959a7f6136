"""The cases of scripts/benchmarks/training.py, one in a process of its own; prints one line of JSON.

`tutorial`: the loop of the tutorials as their users run it. `limit`: the bare loop over tensors in memory, with the
network, memory format, optimizer, batches and threads of `fit`. `fit`: `python -m lightning_cifar fit` as it is.
`first-step`: the same, until its first step begins. `logging`: what `AzureMLLogger` costs `fit` inside a job.
"""

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lightning_cifar.data import LabelledImages, resolve_source

WARM_UP = 50
"""Steps before the clock starts: the first ones allocate memory and choose kernels."""

EPOCHS = {"cpu": 1, "cuda": 10}
"""Passes that are measured: a GPU takes as many steps as an epoch has in a few hundredths of a second."""

START = 25.0
"""Seconds until the processes of `AzureMLLogger` have surely imported the SDK."""

Batch = tuple[torch.Tensor, torch.Tensor]
Case = argparse.Namespace


def main() -> None:
    """Measure the case that the command line names."""
    cases: dict[str, Callable[[Case], dict[str, float]]] = {
        "tutorial": tutorial,
        "limit": limit,
        "fit": fit,
        "first-step": first_step,
        "logging": logging,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=cases)
    parser.add_argument("--data", required=True, help="as --data.source of lightning_cifar")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--net", default="lightning_cifar.Net")
    args = parser.parse_args()
    result = cases[args.case](args)
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else peak_resident()
    print(json.dumps(result | {"peak_mb": peak / 2**20}))


def tutorial(args: Case) -> dict[str, float]:
    """Measure the tutorial: one PIL image at a time, a DataLoader with two workers, `loss.item()` at every step.

    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
    """
    from torch.utils.data import DataLoader

    net = network(args.net).to(args.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    running_loss = 0.0

    def step(batch: Batch) -> None:
        nonlocal running_loss
        inputs, targets = batch[0].to(args.device), batch[1].to(args.device)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()

    return clock(DataLoader(Pictures(load(args)), batch_size=args.batch_size, shuffle=True, num_workers=2), step, args)


class Pictures(torch.utils.data.Dataset):
    """As `torchvision.datasets.CIFAR10` with `ToTensor` and `Normalize`: arrays in memory, a PIL image at a time."""

    def __init__(self, data: LabelledImages) -> None:
        from torchvision import transforms

        self._pixels, self._labels = data.images.permute(0, 2, 3, 1).numpy(), data.labels
        self._transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self._transform(Image.fromarray(self._pixels[index])), int(self._labels[index])


def limit(args: Case) -> dict[str, float]:
    """Measure the same steps as those of `fit`, and nothing else."""
    from lightning_cifar.loader import BatchLoader, TrainSampler
    from lightning_cifar.tiny_steps import threads_for

    data = LabelledImages(*(tensor.to(args.device) for tensor in load(args)))
    part = torch.arange(len(data.labels))
    net = network(args.net)
    if args.device == "cpu":
        torch.set_num_threads(threads_for(net, args.batch_size))
    net = net.to(args.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, fused=True)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()

    return clock(BatchLoader(data, part, args.batch_size, TrainSampler(part, seed=0)), step, args)


def clock(loader: Iterable[Batch], step: Callable[[Batch], None], args: Case) -> dict[str, float]:
    """Run `steps` steps in each of the measured epochs; return the milliseconds of one.

    The clock of an epoch starts when its first batch is there: neither drawing the order nor starting workers counts.
    """
    seconds, steps = 0.0, 0
    for epoch in range(1 + EPOCHS[args.device]):
        batches = iter(loader)
        first = next(batches)
        wait(args.device)
        started, taken = time.perf_counter(), 0
        for batch in itertools.islice(itertools.chain([first], batches), args.steps if epoch else WARM_UP):
            step(batch)
            taken += 1
        wait(args.device)
        if epoch:
            seconds, steps = seconds + time.perf_counter() - started, steps + taken
    return {"ms": seconds / steps * 1000}


def fit(args: Case) -> dict[str, float]:
    """Measure the training loops of `fit` after the first epoch, up to what is saved at their ends."""
    from lightning_cifar.classifier import CIFAR10Classifier

    epochs = EPOCHS[args.device]
    times: list[float] = []
    end = CIFAR10Classifier.on_train_epoch_end

    def note(self: CIFAR10Classifier) -> None:
        wait(args.device)
        times.append(time.perf_counter())

    def note_and_end(self: CIFAR10Classifier) -> None:
        note(self)
        end(self)

    # hooks that Lightning calls once an epoch: no step takes longer for being measured
    CIFAR10Classifier.on_train_epoch_start = note  # type: ignore[assignment, method-assign]
    CIFAR10Classifier.on_train_epoch_end = note_and_end  # type: ignore[assignment, method-assign]
    command(args, "--trainer.max_epochs", 1 + epochs, "--trainer.limit_train_batches", args.steps)
    seconds = sum(last - first for first, last in zip(times[2::2], times[3::2], strict=True))
    return {"ms": seconds / (epochs * args.steps) * 1000}


def first_step(args: Case) -> dict[str, float]:
    """End the process when the first step begins."""
    from lightning_cifar.classifier import CIFAR10Classifier

    CIFAR10Classifier.training_step = lambda *_: os._exit(0)  # type: ignore[method-assign]
    command(args)
    sys.exit("no step was taken")


def logging(args: Case) -> dict[str, float]:
    """Train for a minute inside a job; return what `AzureMLLogger` costs at most.

    Two runs on a shared machine, with and without, differ by more than what is to be measured. So this adds up what the
    logger takes away: the time of the training thread's calls, and the time for which the processes that send metrics
    hold a core, as if the training had to wait for all of it. Their start, once in a job, is returned by itself.

    Returns:
        `ratio` of the time with the logger to the time without; `calls`, the same for its calls alone; `start`, s.
    """
    from lightning_cifar import AzureMLLogger

    log_metrics, calls = AzureMLLogger.log_metrics, 0.0
    looks: list[tuple[float, float, float]] = []  # when, and the seconds of the calls and of the processes until then

    def timed(self: AzureMLLogger, *arguments: Any, **named: Any) -> None:
        nonlocal calls
        before = time.perf_counter()
        log_metrics(self, *arguments, **named)
        after = time.perf_counter()
        calls += after - before
        if after - begun > START:
            looks.append((after, calls, processor_seconds()))

    AzureMLLogger.log_metrics = timed  # type: ignore[method-assign]
    begun = time.perf_counter()
    command(args, "--trainer.max_epochs", -1, "--trainer.max_time", "00:00:01:00")
    if len(looks) < 2:
        sys.exit("in half a minute loss was logged less than twice: this machine is too busy to measure it")
    seconds, in_calls, elsewhere = (last - first for first, last in zip(looks[0], looks[-1], strict=True))
    ratios = {"ratio": seconds / (seconds - in_calls - elsewhere), "calls": seconds / (seconds - in_calls)}
    return ratios | {"start": looks[0][2]}


def command(args: Case, *more: object) -> None:
    """Run `fit` without validation and test.

    Raises:
        SystemExit: it failed.
    """
    from lightning_cifar.cli import main as run

    flags = ["--data.source", args.data, "--data.data_dir", args.data_dir, "--data.batch_size", args.batch_size]
    flags += ["--trainer.accelerator", "gpu" if args.device == "cuda" else "cpu", "--trainer.devices", 1]
    flags += ["--model.net", args.net, "--trainer.limit_val_batches", 0, "--trainer.limit_test_batches", 0]
    with tempfile.TemporaryDirectory() as results:
        code = run(["fit", *map(str, [*flags, *more]), "--trainer.default_root_dir", results])
    if code:
        sys.exit(code)


def network(name: str) -> nn.Module:
    """Return the network that a flag names, with ten classes."""
    if name == "lightning_cifar.Net":
        from lightning_cifar import Net

        return Net()
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def load(args: Case) -> LabelledImages:
    """Read the training images, from the cache if there is one."""
    source = resolve_source(args.data, Path(args.data_dir))
    source.prepare()
    return source.load("train")


def peak_resident() -> int:
    """Return the most memory that this process has taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def processor_seconds() -> float:
    """Return the processor time of the sessions that this process has started, ended processes included."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended in the meantime
            continue
        processes[int(folder.name)] = (int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])))
    sessions = {pid for pid, (parent, session, _) in processes.items() if parent == os.getpid() and session == pid}
    ticks = sum(ticks for _, session, ticks in processes.values() if session in sessions)
    return ticks / os.sysconf("SC_CLK_TCK")


def wait(device: str) -> None:
    """Wait until the GPU has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
