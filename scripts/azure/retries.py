"""Go on with a run that the platform has failed: the same job once more, from the checkpoint that the run has left.

Azure ML itself puts a job whose node was pre-empted back into the queue, and has no retries for any other failure of
such jobs, in neither SDK. A training whose own code failed is never tried again: it would fail again, and cost again.
"""

import re
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lightning_cifar.errors import UserError
from lightning_cifar.files import newest
from scripts.azure import follow
from scripts.azure.job import OUTPUTS, Job
from scripts.azure.snapshot import Snapshot
from scripts.azure.submitter import RunDetails, RunHandle

START = "resume/last.ckpt"
"""Where a job of a second try finds its checkpoint: outside `outputs`, where a later one of its own goes first."""
_OF_THE_PLATFORM = ("ServiceError", "SystemError")
_SIGTERM = 128 + signal.SIGTERM

Submit = Callable[[Job, Snapshot], RunHandle]


def failed_by_platform(details: RunDetails) -> bool:
    """Return whether a run failed, and not by its own code: by the service's word, or because it was sent SIGTERM."""
    if details.status != "Failed":
        return False
    if code := re.search(r"exited with (?:status|exit) code (-?\d+)", details.reason):
        return int(code[1]) == _SIGTERM
    return details.code in _OF_THE_PLATFORM


def until_done(submit: Submit, job: Job, snapshot: Snapshot, retries: int) -> tuple[RunHandle, int]:
    """Submit a job and follow it; where the platform fails it, submit it again, at most `retries` times.

    Returns:
        The last run, and its end as an exit code.

    Raises:
        UserError: the last run failed.
    """
    with tempfile.TemporaryDirectory(prefix="retry-") as folder:
        for number in range(1, retries + 2):
            run = submit(job, snapshot)
            try:
                return run, follow.until_done(run)
            except UserError as failure:
                if number > retries or not failed_by_platform(run.details()):
                    raise
                print(f"{failure}\nnot by its own code: submitting it again, {number} of {retries} times", flush=True)
            job, snapshot = _from_checkpoint(run, job, snapshot, Path(folder, str(number)))
    raise AssertionError("the last try returns or raises")


def _from_checkpoint(run: RunHandle, job: Job, snapshot: Snapshot, folder: Path) -> tuple[Job, Snapshot]:
    """Return the job that goes on where a run has stopped; without a checkpoint, from where that one began."""
    run.download(folder)
    paths = [PurePosixPath(path.relative_to(folder).as_posix()) for path in folder.rglob("checkpoints/*.ckpt")]
    last = newest(path for path in paths if path.name == "last.ckpt" and path.is_relative_to(OUTPUTS))
    job = replace(job, tags=job.tags | {"retry_of": run.id})
    if last is None:
        return job, snapshot
    # A best network stays where the checkpoint says that it is.
    added = {str(path): folder / path for path in paths if path.name.startswith("best")} | {START: folder / last}
    snapshot = replace(snapshot, added=added)
    snapshot.check()
    flags = ("--resume.init_args.start", START)
    return replace(job, flags=job.flags if job.flags[:2] == flags else (*flags, *job.flags)), snapshot
