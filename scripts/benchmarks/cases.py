"""The cases of scripts/benchmarks/training.py, each in a process of its own.

`tutorial`: the loop of the tutorials as their users run it. `limit`: the bare loop over tensors in memory, with the
network, memory format, optimizer, batches and threads of `fit`. `fit`: `python -m lightning_cifar fit` as it is.
`in_job`: the same in an Azure ML job, with and without what sends its metrics. `first_step`: until that begins.
"""

import itertools
import os
import pydoc
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lightning_cifar.data import LabelledImages, resolve_source

STEPS = {4: 1500, 32: 600, 128: 200, 512: 60}
"""Steps of an epoch at each batch size: about three seconds of the tutorial's loop."""
OTHER_STEPS = {"cpu": 3, "cuda": 40}

WARM_UP = 50
"""Steps before the clock starts: the first ones allocate memory and choose kernels."""

EPOCHS = {"cpu": 5, "cuda": 10}
"""Epochs that are measured, after one that is not; their median counts."""

BLOCK, BLOCKS = 6, 7
"""Epochs with and without a job's relay in turn, about ten seconds, and number of both; before them it starts."""

Batch = tuple[torch.Tensor, torch.Tensor]


class Case(NamedTuple):
    """What is trained where: `data` and `data_dir` as the flags of lightning_cifar, `net` by its import path."""

    data: str
    data_dir: str
    device: str = "cpu"
    net: str = "lightning_cifar.Net"
    batch_size: int = 4

    @property
    def steps(self) -> int:
        """Steps in an epoch that is measured."""
        return STEPS.get(self.batch_size, OTHER_STEPS[self.device])

    def network(self) -> nn.Module:
        """Return a new network with ten classes."""
        network: Any = pydoc.locate(self.net)
        return network(num_classes=10)

    def images(self) -> LabelledImages:
        """Read the training images, from the cache if there is one."""
        source = resolve_source(self.data, Path(self.data_dir))
        source.prepare()
        return source.load("train")

    def wait(self) -> None:
        """Wait until the GPU has finished."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def figures(self, epochs: Sequence[float]) -> dict[str, float]:
        """Return `ms`, the median of the epochs' per step, and `peak_mb`, the most memory taken (a GPU's own)."""
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else resident
        return {"ms": statistics.median(epochs), "peak_mb": peak / 2**20}


def run(name: str, *fields: Any) -> dict[str, float]:
    """Measure the case of this name; `fields` are those of a `Case`."""
    cases = {"tutorial": tutorial, "limit": limit, "fit": fit, "in_job": in_job}
    return cases[name](Case(*fields))


def tutorial(case: Case) -> dict[str, float]:
    """Measure the tutorial: one PIL image at a time, a DataLoader with two workers, `loss.item()` at every step.

    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
    """
    net = case.network().to(case.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    running_loss = 0.0

    def step(batch: Batch) -> None:
        nonlocal running_loss
        inputs, targets = batch[0].to(case.device), batch[1].to(case.device)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()

    loader = DataLoader(pictures(case.images()), batch_size=case.batch_size, shuffle=True, num_workers=2)
    return clock(loader, step, case)


def pictures(data: LabelledImages) -> Dataset:
    """Return `torchvision.datasets.CIFAR10` with the tutorial's transforms, as if it had read these images."""
    from torchvision.datasets import CIFAR10
    from torchvision.transforms import Compose, Normalize, ToTensor

    dataset = CIFAR10.__new__(CIFAR10)
    dataset.data, dataset.targets = data.images.permute(0, 2, 3, 1).numpy(), data.labels.tolist()
    dataset.transform, dataset.target_transform = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)]), None
    return dataset


def limit(case: Case) -> dict[str, float]:
    """Measure the same steps as those of `fit`, and nothing else."""
    from lightning_cifar.loader import BatchLoader, TrainSampler
    from lightning_cifar.memory import keep_memory
    from lightning_cifar.tiny_steps import threads_for

    keep_memory()
    data = LabelledImages(*(tensor.to(case.device) for tensor in case.images()))
    part = torch.arange(len(data.labels))
    net = case.network()
    if case.device == "cpu":
        torch.set_num_threads(threads_for(net, case.batch_size))
    net = net.to(case.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, fused=True)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()

    return clock(BatchLoader(data, part, case.batch_size, TrainSampler(part, seed=0)), step, case)


def clock(loader: Iterable[Batch], step: Callable[[Batch], None], case: Case) -> dict[str, float]:
    """Run `steps` steps in each of the measured epochs; return the figures of one.

    The clock of an epoch starts when its first batch is there: neither drawing the order nor starting workers counts.
    """
    epochs = []
    for epoch in range(1 + EPOCHS[case.device]):
        batches = iter(loader)
        first = next(batches)
        case.wait()
        started, steps = time.perf_counter(), case.steps if epoch else min(WARM_UP, case.steps)
        for batch in itertools.islice(itertools.chain([first], batches), steps):
            step(batch)
        case.wait()
        if epoch:
            epochs.append((time.perf_counter() - started) / steps * 1000)
    return case.figures(epochs)


def fit(case: Case) -> dict[str, float]:
    """Measure the training loops of `fit` after the first epoch, up to what is saved at their ends."""
    return case.figures(train(case, 1 + EPOCHS[case.device])[1:])


def in_job(case: Case) -> dict[str, float]:
    """Measure `fit` in a job; as `logger` how many times as long a step takes as while its relays are stopped.

    In one process, because two of the same differ by far more.
    """
    times = train(case, (1 + BLOCKS) * BLOCK, stop_every_other_block)[BLOCK:]
    blocks = [statistics.median(times[start : start + BLOCK]) for start in range(0, len(times), BLOCK)]
    triples = zip(blocks[0:-2:2], blocks[1::2], blocks[2::2], strict=True)
    ratios = [(before + after) / 2 / stopped for before, stopped, after in triples]
    return case.figures(blocks[0::2]) | {"logger": statistics.median(ratios)}


def stop_every_other_block(module: Any) -> None:
    """Stop the relays of a training's AzureMLLogger from the second block on in every other one."""
    block = module.trainer.current_epoch // BLOCK
    outboxes = module.trainer.loggers[-1]._delivery.outboxes.values() if block else ()
    for process in [outbox.process for outbox in outboxes if outbox.process]:
        os.killpg(process.pid, signal.SIGCONT if block % 2 else signal.SIGSTOP)


def train(case: Case, epochs: int, begin_epoch: Callable[[Any], object] = lambda _: None) -> list[float]:
    """Run `fit` for some epochs, each after a call of `begin_epoch`; return the milliseconds per step of each."""
    from lightning_cifar.classifier import CIFAR10Classifier

    times: list[float] = []
    end = CIFAR10Classifier.on_train_epoch_end

    def begin_and_note(self: CIFAR10Classifier) -> None:
        begin_epoch(self)
        note()

    def note() -> None:
        case.wait()
        times.append(time.perf_counter())

    def note_and_end(self: CIFAR10Classifier) -> None:
        note()
        end(self)

    # hooks that Lightning calls once an epoch: no step takes longer for being measured
    CIFAR10Classifier.on_train_epoch_start = begin_and_note  # type: ignore[assignment, method-assign]
    CIFAR10Classifier.on_train_epoch_end = note_and_end  # type: ignore[assignment, method-assign]
    command(case, "--trainer.max_epochs", epochs, "--trainer.limit_train_batches", case.steps)
    return [(last - first) / case.steps * 1000 for first, last in zip(times[0::2], times[1::2], strict=True)]


def first_step(case: Case) -> None:
    """End the process when the first step begins."""
    from lightning_cifar.classifier import CIFAR10Classifier

    CIFAR10Classifier.training_step = lambda *_: os._exit(0)  # type: ignore[method-assign]
    command(case)
    sys.exit("no step was taken")


def command(case: Case, *more: object) -> None:
    """Run `fit` without validation and test.

    Raises:
        SystemExit: it failed.
    """
    from lightning_cifar.cli import main as run

    flags = ["--data.source", case.data, "--data.data_dir", case.data_dir, "--data.batch_size", case.batch_size]
    flags += ["--trainer.accelerator", "gpu" if case.device == "cuda" else "cpu", "--trainer.devices", 1]
    flags += ["--model.net", case.net, "--trainer.limit_val_batches", 0, "--trainer.limit_test_batches", 0]
    with tempfile.TemporaryDirectory() as results:
        code = run(["fit", *map(str, [*flags, *more]), "--trainer.default_root_dir", results])
    if code:
        sys.exit(code)
