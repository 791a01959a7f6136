"""Where a job that the platform has restarted goes on.

Named in a config by class path, `resume: {class_path: lightning_cifar.azure.resume.ResumeFromRun}`, and asked
by the command line before `fit`, because a logger cannot set the trainer's `ckpt_path`.
"""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

from lightning_cifar.azure import backends
from lightning_cifar.azure.process import child_environment
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.service_errors import one_line, retried
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write, newest

# The service may be as unwell as the node that was taken away; a start is worth waiting for.
FETCH_SECONDS = 300.0
RETRY_SECONDS = 10.0
BEST = "checkpoints/best*.ckpt"
"""What is fetched beside it: a run that goes on without its best network would take the next one for the best."""


class ResumeFromRun:
    """Finds the newest checkpoint of the job's own run: on this disk, or among the run's artifacts.

    Outside an Azure ML job it finds nothing, at no cost: no SDK is imported.

    Args:
        pattern: the end of the path of a checkpoint to resume from, a glob.
        fetch_seconds: how long to go on asking a service that fails.
        start: the checkpoint that a job goes on from whose own run has left none yet.
    """

    def __init__(
        self, pattern: str = "checkpoints/last.ckpt", fetch_seconds: float = FETCH_SECONDS, start: str | None = None
    ) -> None:
        self.pattern, self.fetch_seconds, self.start = pattern, fetch_seconds, start

    def __call__(self, results: str | Path) -> str | None:
        """Return the checkpoint to go on from, or None to start anew.

        Args:
            results: the trainer's `default_root_dir`; in a job, what the platform uploads, `outputs`.

        Raises:
            UserError: the run may have left a checkpoint that cannot be fetched; a new start would waste it.
        """
        if RunAddress.of_job() is None:
            return None
        if found := newest(path for path in Path(results).rglob(self.pattern) if path.is_file()):
            return str(found)
        # In a process of its own, so that the training process stays free of the SDK and its threads.
        command = [sys.executable, "-m", __name__, str(results), self.pattern, str(self.fetch_seconds)]
        done = subprocess.run(command, env=child_environment(), stdout=subprocess.PIPE, text=True)
        answer = next(reversed(done.stdout.splitlines()), "")  # the SDK may have printed something before it
        if done.returncode != 0:
            raise UserError(answer or f"asking the run for a checkpoint ended with {done.returncode}: see above")
        return answer or self.start


def fetch(address: RunAddress, results: Path, pattern: str, seconds: float) -> str | None:
    """Download the newest checkpoint that a run has below `results`, and return its path; None if it has none.

    Raises:
        UserError: it could not be had within `seconds`, or no SDK is installed that could ask for it.
    """
    give_up = time.monotonic() + seconds
    pauses = itertools.takewhile(lambda _: time.monotonic() < give_up, itertools.repeat(RETRY_SECONDS))
    try:
        return retried(
            lambda: _download(address, results, pattern), lambda error: not isinstance(error, UserError), pauses
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"cannot learn whether run {address.run_id} has left a checkpoint, or cannot fetch it "
            f"({one_line(error)}): start the job again later, or without a resume hook to start anew"
        ) from error


def _download(address: RunAddress, results: Path, pattern: str) -> str | None:
    root = os.path.relpath(results)  # of what lies outside the job's folder nothing is uploaded
    backend = backends.load(backends.choose("auto", address.tracking_uri), address.tracking_uri)
    run = backend(address, lambda: None)
    artifacts = [
        path for path in map(PurePosixPath, run.artifacts()) if path.is_relative_to(root) and ".." not in path.parts
    ]
    found = newest(path for path in artifacts if path.match(pattern))
    if found is None:
        return None
    for path in (*(path for path in artifacts if path.match(BEST) and path != found), found):
        with atomic_write(Path(path)) as file:
            run.download(str(path), Path(file.name))
    return str(found)


if __name__ == "__main__":
    address = RunAddress.of_job()
    assert address is not None
    try:
        print(fetch(address, Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])) or "", flush=True)
    except UserError as error:
        print(error, flush=True)
        os._exit(1)
    os._exit(0)  # the SDK's threads may be slow to end
