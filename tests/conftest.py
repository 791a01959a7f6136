"""What the tests share: small folders of images, runs of the command line, and a loopback Azure ML."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

# Before rich.progress, which some tests import: `typing` hands out the first spelling of a Union to whoever spells it
# again, and after rich's `Union[float, int]` the Trainer's `--trainer.limit_train_batches 3` would be read as 3.0.
import pytorch_lightning  # noqa: F401
from PIL import Image

from scripts.emulator import Emulator
from tests.deadline import deadline

ROOT = Path(__file__).parents[1]

# Azure's own metadata service is never asked, by whatever a test starts.
os.environ["LIGHTNING_CIFAR_SCHEDULED_EVENTS"] = "off"

pytest_plugins = ["scripts.emulator.pytest_plugin"]  # the fixture `azureml`

# A shell starts what runs in its background with SIGINT ignored, and the processes of the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=float, default=0, metavar="SECONDS", help="go on so long with each property")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Try properties with ever new data for as long as `--fuzz` says, and then once more, as always."""
    names = pyfuncitem._fixtureinfo.argnames
    until = time.monotonic() + pyfuncitem.config.getoption("--fuzz")
    while getattr(pyfuncitem.obj, "is_hypothesis_test", False) and time.monotonic() < until:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})


def make_folder(folder: Path, classes: Sequence[str], train: int, test: int, seed: int = 0) -> Path:
    """Draw a folder of images that a network can learn: each class has its own colour under noise."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            colour = np.array([label * 90 % 256, 255 - label * 70 % 256, label * 140 % 256])
            for index in range(count):
                pixels = (colour + rng.normal(0, 60, (32, 32, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index:03}.png")
    return folder


@pytest.fixture
def emptied(tmp_path: Path) -> Callable[[], Path]:
    """Return a folder, emptied at each call: each example of a property begins anew, and leaves the disk nothing."""

    def empty() -> Path:
        shutil.rmtree(tmp_path / "emptied", ignore_errors=True)
        (tmp_path / "emptied").mkdir()
        return tmp_path / "emptied"

    return empty


@pytest.fixture
def azure(azureml: Emulator) -> Emulator:
    """The loopback Azure ML of the pytest plugin, by the name that the tests call it."""
    return azureml


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes, 40 training and 10 test images each."""
    return make_folder(tmp_path_factory.mktemp("data") / "colours", ("blue", "green", "red"), 40, 10)


@pytest.fixture
def files_limited_to() -> Callable[[int], AbstractContextManager]:
    """As on a full disk, a file takes so many bytes, and the rest is an error; needs no rights to mount a small one."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


class Cli:
    """Runs `python -m lightning_cifar` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def start(self, *args: object, program: Sequence[str] = ("-m", "lightning_cifar")) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *program, *map(str, args)],
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *args: object) -> subprocess.CompletedProcess:
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=deadline(20))
        finally:
            process.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line, in an empty folder."""
    return Cli(tmp_path)


def run(folder: Path, *args: object) -> int:
    """Run the command line within this process (quicker), in `folder`, and give its exit code."""
    from lightning_cifar.cli import main

    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["lightning_cifar"])
        try:
            return main([str(arg) for arg in args])
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


class Main:
    """Runs the command line within this process, and keeps what it prints."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture) -> None:
        self.folder, self.capsys = folder, capsys
        self.out = self.err = ""

    def __call__(self, *args: object) -> int:
        try:
            return run(self.folder, *args)
        finally:
            self.out, self.err = self.capsys.readouterr()


@pytest.fixture
def main(tmp_path: Path, capsys: pytest.CaptureFixture) -> Main:
    """The command line within this process, in an empty folder."""
    return Main(tmp_path, capsys)
