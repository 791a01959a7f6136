"""Check before anything is sent: flags that mean something else in a job, and what the workspace lacks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_cifar.errors import UserError
from scripts.azure.job import OUTPUTS, SERVERLESS, DataAsset, DatastorePath, Job, flag_value
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import Datastore, not_there

ARCHIVE = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
"""The official CIFAR-10, packed and unpacked."""

_FILES = ("--config", "-c", "--ckpt_path", "--data.source", "--data.data_dir")


class Compute(NamedTuple):
    """A compute target: the size of its machines and how many it may have, both as far as they are known."""

    vm_size: str
    max_nodes: int | None

    @property
    def has_gpu(self) -> bool:
        """Whether its size is of Azure's N series, which has GPUs, but for NP (FPGAs)."""
        family = self.vm_size.lower().removeprefix("standard_")
        return family.startswith("n") and not family.startswith("np")


def check_flags(job: Job, sdk: str) -> None:
    """Raise a UserError for flags that would mean something else in a job than here; say what to write instead."""
    of_v2 = {
        f"DATA={job.data}": isinstance(job.data, DataAsset),
        f"COMPUTE={job.compute}": job.compute == SERVERLESS,
        f"--environment {job.environment.name}": job.environment.in_registry,
    }
    for what, wanted in of_v2.items():
        if wanted and sdk == "v1":
            raise UserError(f"{what} is beyond SDK v1; add SDK=v2 (--sdk v2)")
    if job.vm_size and job.compute != SERVERLESS:
        raise UserError(f"--vm-size {job.vm_size}: compute {job.compute} has its own size; write COMPUTE={SERVERLESS}")
    if job.compute == SERVERLESS and job.wants_gpu and not Compute(job.vm_size or "", None).has_gpu:
        raise UserError(f"COMPUTE={SERVERLESS} with ACCELERATOR=gpu needs a --vm-size with GPUs: Standard_NC4as_T4_v3")
    if job.accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise UserError(f"Azure ML has no accelerator {job.accelerator!r}; ACCELERATOR=gpu or ACCELERATOR=cpu")
    if (checkpoint := flag_value(job.flags, "--ckpt_path")) in ("last", "best"):
        raise UserError(f"--ckpt_path {checkpoint} in ARGS: a job starts without results of other runs; leave it out")
    if (root := flag_value(job.flags, "--trainer.default_root_dir")) and Path(root).parts[:1] != (OUTPUTS,):
        raise UserError(f"--trainer.default_root_dir {root} in ARGS: a job keeps only {OUTPUTS}/; leave it out")
    for flag, variable in (("--trainer.num_nodes", "NODES"), ("--trainer.devices", "DEVICES")):
        value = flag_value(job.flags, flag)
        if value is not None and (job.distributed or variable == "NODES"):
            raise UserError(f"{flag} in ARGS: the platform launches the processes; write {variable}={value} instead")


def check_paths(flags: Sequence[str], snapshot: Snapshot) -> None:
    """Raise a UserError for a path that exists on this machine but is not sent; others are left to the job."""
    sent = {parent for file in snapshot.files for parent in (Path(file), *Path(file).parents)}
    for flag in _FILES:
        value = flag_value(flags, flag)
        if value and Path(value).exists() and Path(value) not in sent:
            raise UserError(f"{flag} {value} exists here but is not sent; copy it into the project, or edit .amlignore")


def check_compute(job: Job, computes: Mapping[str, Compute], workspace: str) -> bool:
    """Return whether the job will use GPUs; a UserError where its compute is missing, too small or lacks them."""
    if job.compute not in computes:
        remedy = f"scripts/README.md says how, or write SDK=v2 COMPUTE={SERVERLESS}"
        raise not_there(f"compute {job.compute!r}", workspace, computes, remedy)
    size, most = computes[job.compute]
    if most is not None and (job.nodes or 1) > most:
        raise UserError(f"compute {job.compute} has at most {most} nodes, fewer than NODES={job.nodes}; use {most}")
    gpu = computes[job.compute].has_gpu
    if job.wants_gpu and size and not gpu:
        there = ", ".join(sorted(name for name, compute in computes.items() if compute.has_gpu)) or "none"
        raise UserError(f"compute {job.compute} ({size}) has no GPU, as ACCELERATOR=gpu needs; with GPU: {there}")
    return (gpu or (job.wants_gpu and not size)) and job.accelerator != "cpu"


def check_data(store: Datastore, data: DatastorePath) -> bool:
    """Return whether a path of a datastore holds the official archive, or else images; a UserError for nothing."""
    if not store.is_blob_storage:  # a file share or a data lake: the job will see
        return False
    if not store.holds(f"{data.path}/"):
        raise UserError(f"nothing at {data}; check the path, or put a folder there: `make upload-data DATA=FOLDER`")
    return any(store.holds(f"{data.path}/{name}") for name in ARCHIVE)
