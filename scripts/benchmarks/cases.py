"""What `scripts/benchmark.py` measures, one case in a process of its own; prints one line of JSON.

`tutorial`: the loop of the tutorials as their users run it. `limit`: the bare loop over tensors in memory, with the
network, memory format, optimizer, batches and threads of `fit`. `fit`: `python -m lightning_cifar fit` as it is.
`first-step`: the same, until its first step begins. `logging`: what `AzureMLLogger` costs `fit` inside a
job.
"""

import argparse
import functools
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP = 50
"""Steps before the clock starts: the first ones allocate memory and choose kernels."""

Batch = tuple[torch.Tensor, torch.Tensor]

EPOCHS = {"cpu": 1, "cuda": 10}
"""Passes that are measured: a GPU takes as many steps as an epoch has in a few hundredths of a second."""


def main() -> None:
    """Measure the case that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["tutorial", "limit", "fit", "first-step", "logging"])
    parser.add_argument("--data", required=True, help="as --data.source of lightning_cifar")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--net", default="lightning_cifar.Net", choices=["lightning_cifar.Net", "torchvision.models.resnet18"]
    )
    args = parser.parse_args()
    result: dict[str, float] = {}
    if args.case == "fit":
        result["ms"] = fit(args)
    elif args.case == "first-step":
        first_step(args)
    elif args.case == "logging":
        from scripts.benchmarks.in_job import logging_cost

        result |= logging_cost(functools.partial(flags, args))
    else:
        loop = tutorial if args.case == "tutorial" else limit
        result["ms"] = loop(args)
    result["peak_mb"] = peak_memory(args.device) / 2**20
    print(json.dumps(result))


def tutorial(args: argparse.Namespace) -> float:
    """Per-image PIL to tensor, a DataLoader with two workers, `loss.item()` at every step.

    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
    """
    from torch.utils.data import DataLoader

    net = network(args.net).to(args.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    loader = DataLoader(PictureDataset(args), batch_size=args.batch_size, shuffle=True, num_workers=2)
    running_loss = 0.0

    def step(batch: Batch) -> None:
        nonlocal running_loss
        images, labels = batch[0].to(args.device), batch[1].to(args.device)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()

    return clock(loader, step, args)


class PictureDataset(torch.utils.data.Dataset):
    """As `torchvision.datasets.CIFAR10` with `ToTensor` and `Normalize`: arrays in memory, a PIL image at a time."""

    def __init__(self, args: argparse.Namespace) -> None:
        from torchvision import transforms

        images, self.labels = load(args)
        self.pixels = images.permute(0, 2, 3, 1).numpy()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def limit(args: argparse.Namespace) -> float:
    """The same steps as `fit` takes, and nothing else."""
    from lightning_cifar.data import LabelledImages
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


def clock(loader: Iterable[Batch], step: Callable[[Batch], None], args: argparse.Namespace) -> float:
    """Take `steps` steps in each of the measured epochs; give the milliseconds of one.

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
    return seconds / steps * 1000


def fit(args: argparse.Namespace) -> float:
    """The training loops of `fit` after the first epoch, up to what is saved at their ends."""
    from lightning_cifar.classifier import CIFAR10Classifier
    from lightning_cifar.cli import main as command

    epochs = EPOCHS[args.device]
    times: list[float] = []
    end = CIFAR10Classifier.on_train_epoch_end

    def on_train_epoch_start(self: CIFAR10Classifier) -> None:
        wait(args.device)
        times.append(time.perf_counter())

    def on_train_epoch_end(self: CIFAR10Classifier) -> None:
        wait(args.device)
        times.append(time.perf_counter())
        end(self)

    # hooks that Lightning calls once an epoch: no step takes longer for being measured
    CIFAR10Classifier.on_train_epoch_start = on_train_epoch_start  # type: ignore[assignment, method-assign]
    CIFAR10Classifier.on_train_epoch_end = on_train_epoch_end  # type: ignore[assignment, method-assign]
    only_train = ["--trainer.limit_val_batches", "0", "--trainer.limit_test_batches", "0"]
    with tempfile.TemporaryDirectory() as results:
        code = command(
            [
                *flags(args, results),
                *only_train,
                "--trainer.max_epochs",
                str(1 + epochs),
                "--trainer.limit_train_batches",
                str(args.steps),
            ]
        )
    if code:
        sys.exit(code)
    seconds = sum(last - first for first, last in zip(times[2::2], times[3::2], strict=True))
    return seconds / (epochs * args.steps) * 1000


def first_step(args: argparse.Namespace) -> None:
    """End the process when the first step begins."""
    from lightning_cifar.classifier import CIFAR10Classifier
    from lightning_cifar.cli import main as command

    CIFAR10Classifier.training_step = lambda *_: os._exit(0)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as results:
        command(flags(args, results))
    sys.exit("no step was taken")


def flags(args: argparse.Namespace, results: str) -> list[str]:
    """Give the command line of `fit` for a case."""
    accelerator = "gpu" if args.device == "cuda" else "cpu"
    return [
        *(
            "fit",
            "--data.source",
            args.data,
            "--data.data_dir",
            args.data_dir,
            "--data.batch_size",
            str(args.batch_size),
        ),
        *("--trainer.accelerator", accelerator, "--trainer.devices", "1", "--model.net", args.net),
        *("--trainer.default_root_dir", results),
    ]


def network(name: str) -> nn.Module:
    """Make the network that a flag names, with ten classes."""
    if name == "lightning_cifar.Net":
        from lightning_cifar import Net

        return Net()
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def load(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the training images, from the cache if there is one."""
    from lightning_cifar.data import resolve_source

    source = resolve_source(args.data, Path(args.data_dir))
    source.prepare()
    return source.load("train")


def peak_memory(device: str) -> int:
    """Give the most bytes that were taken: of the GPU's memory, where there is one, or by this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def wait(device: str) -> None:
    """Let the GPU finish what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
