"""Define what is to be run on Azure ML, in terms that every submitter understands: no SDK is imported here."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lightning_cifar.errors import UserError
from scripts.azure.environment import EnvironmentSpec

OUTPUTS = "outputs"
"""The folder of a job that Azure ML keeps; everything that training leaves goes there."""

SERVERLESS = "serverless"
"""The compute of a job that brings its own: machines that Azure starts for it and ends with it; SDK v2 only."""

CHECKPOINT_EVERY = "5m"
"""How often a job saves where it is, unless its flags say otherwise; a node may be taken away."""


class DatastorePath(NamedTuple):
    """A folder in one of the workspace's datastores, written `DATASTORE:PATH` on the command line."""

    datastore: str
    path: str

    def __str__(self) -> str:
        return f"{self.datastore}:{self.path}"


class DataAsset(NamedTuple):
    """A folder that the workspace knows by a name, written `azureml:NAME:VERSION` or `azureml:NAME@latest`."""

    name: str
    version: str | None

    def __str__(self) -> str:
        return f"azureml:{self.name}:{self.version}" if self.version else f"azureml:{self.name}@latest"


@dataclass(frozen=True)
class Job:
    """One training on Azure ML.

    Attributes:
        flags: what follows `python -m lightning_cifar fit`, without what `command` adds.
        data: where the images come from.
        data_is_archive: whether a folder of the workspace holds the official archive instead of images.
        data_mode: how such a folder reaches the job.
        nodes, devices: machines, and processes on each; None: one process, started as on a laptop.
        vm_size: of the machines of a `SERVERLESS` job; None: Azure chooses.
        max_seconds: the platform cancels the job after that long.
        gpu: whether its nodes have GPUs that it uses; None: the workspace has not been asked.
    """

    flags: tuple[str, ...]
    environment: EnvironmentSpec
    data: DatastorePath | DataAsset | str = "cifar10"
    data_is_archive: bool = False
    data_mode: Literal["download", "mount"] = "download"
    nodes: int | None = None
    devices: int | None = None
    experiment: str = "cifar10"
    compute: str = "cpu-cluster"
    vm_size: str | None = None
    display_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    max_seconds: int | None = None
    priority: int | None = None
    gpu: bool | None = None

    @property
    def distributed(self) -> bool:
        """Whether the platform launches the processes."""
        return self.nodes is not None or self.devices is not None

    @property
    def accelerator(self) -> str:
        """`--trainer.accelerator` of the flags, `auto` where they name none."""
        return flag_value(self.flags, "--trainer.accelerator") or "auto"

    @property
    def wants_gpu(self) -> bool:
        """Whether the flags ask for a GPU."""
        return self.accelerator in ("gpu", "cuda")

    @property
    def uses_gpu(self) -> bool:
        """Whether it runs on GPUs, as far as that is known."""
        return self.wants_gpu if self.gpu is None else self.gpu

    def arguments(self, data_folder: str) -> list[str]:
        """Return what follows `python -m lightning_cifar`, the user's flags last; `data_folder` is the workspace's."""
        source = ["--data.source", str(self.data)]
        if isinstance(self.data, DatastorePath | DataAsset):
            archive = ["--data.source", "cifar10", "--data.data_dir", data_folder]
            source = archive if self.data_is_archive else ["--data.source", data_folder]
        scale = []
        if self.distributed:
            scale = ["--trainer.num_nodes", str(self.nodes or 1), "--trainer.devices", str(self.devices or 1)]
            scale += ["--trainer.strategy", "ddp"]
        kept = ["--trainer.default_root_dir", OUTPUTS, "--checkpoint_every", CHECKPOINT_EVERY]
        return ["fit", *kept, *source, *scale, *self.flags]

    def command(self, data_folder: str) -> str:
        """Return the command line for the job's shell: all quoted but `data_folder`, which the job replaces."""
        words = ["python", "-m", "lightning_cifar", *self.arguments(data_folder)]
        return " ".join(word if word == data_folder else shlex.quote(word) for word in words)


def flag_value(flags: Sequence[str], name: str) -> str | None:
    """Return the value of `--name VALUE` or `--name=VALUE`; the last one counts, as in the parser of the job."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="value", nargs="?")
    value: str | None = parser.parse_known_args(list(flags))[0].value
    return value


def read_data(text: str) -> DatastorePath | DataAsset | str:
    """Parse `DATA=`: the name of a source, `DATASTORE:PATH` or a data asset; a UserError for anything else."""
    from lightning_cifar.data import SOURCES  # brings PyTorch

    if text in SOURCES:
        return text
    if Path(text).exists():
        raise UserError(f"DATA={text} is a folder of this machine, which no job sees: `make upload-data DATA={text}`")
    if asset := re.fullmatch(r"azureml:([\w.-]+)(?:@latest|:([\w.-]+))", text):
        return DataAsset(asset[1], asset[2])
    if text.startswith("azureml:"):
        raise UserError(f"DATA={text} names no data asset; write azureml:NAME:VERSION or azureml:NAME@latest")
    datastore, colon, path = text.partition(":")
    if colon and re.fullmatch(r"\w+", datastore) and path.strip("/"):
        return DatastorePath(datastore, path.strip("/"))
    known = ", ".join(SOURCES) + ", DATASTORE:PATH nor azureml:NAME:VERSION"
    raise UserError(f"DATA={text} is neither {known}, as `make upload-data` prints it")


def read_tags(texts: Sequence[str]) -> dict[str, str]:
    """Parse `KEY=VALUE` pairs; a UserError for anything else."""
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--tag {text!r} is no KEY=VALUE; write for instance --tag owner=me")
        tags[key.strip()] = value
    return tags
