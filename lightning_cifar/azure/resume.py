"""Where a job that the platform has restarted goes on.

Named in a config by class path, `resume: {class_path: lightning_cifar.azure.resume.ResumeFromRun}`, and asked
by the command line before `fit`, because a logger cannot set the trainer's `ckpt_path`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from lightning_cifar.azure.process import child_environment
from lightning_cifar.azure.run import RunAddress, require_azureml
from lightning_cifar.errors import UserError

# The service may be as unwell as the node that was taken away; a start is worth waiting for.
FETCH_SECONDS = 300.0
RETRY_SECONDS = 10.0


class ResumeFromRun:
    """Finds the newest checkpoint of the job's own run: on this disk, or among the run's artifacts.

    Outside an Azure ML job it finds nothing, at no cost: azureml is not imported.

    In a distributed job process 0 asks and tells the others the answer, since nodes need not start with equal
    disks. The file is fetched where it is called; with a `CheckpointIO` that loads on rank 0 only, the other
    ranks need no more than the answer.

    Args:
        pattern: which files are checkpoints to resume from, as a glob below the results folder. The newest
            version folder wins, then the latest change.
        fetch_seconds: how long to go on asking a service that fails.
    """

    def __init__(self, pattern: str = "**/checkpoints/last.ckpt", fetch_seconds: float = FETCH_SECONDS) -> None:
        self.pattern = pattern
        self.fetch_seconds = fetch_seconds

    def __call__(self, results: str | Path) -> str | None:
        """Return the checkpoint to go on from, or None to start anew.

        Args:
            results: the trainer's `default_root_dir`; in a job, what the platform uploads, `outputs`.

        Raises:
            UserError: the run may have left a checkpoint that cannot be fetched; a new start would waste it.
        """
        if RunAddress.of_job() is None:
            return None
        results = Path(results)
        found = [path for path in results.glob(self.pattern) if path.is_file()]
        if found:
            return str(max(found, key=lambda path: (_version(path), path.stat().st_mtime)))
        return self._fetch(results)

    def _fetch(self, results: Path) -> str | None:
        """Ask in a process of its own, so that the training process stays free of azureml and its threads."""
        require_azureml()
        command = [sys.executable, "-m", "lightning_cifar.azure.resume", str(results), self.pattern]
        done = subprocess.run(
            [*command, str(self.fetch_seconds)], env=child_environment(), stdout=subprocess.PIPE, text=True
        )
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            raise UserError(
                f"asking the run for a checkpoint failed with exit code {done.returncode}: see above"
            ) from None
        if "error" in answer:
            raise UserError(answer["error"])
        return answer["checkpoint"]


def fetch(results: Path, pattern: str, seconds: float) -> str | None:
    """Fetch the newest checkpoint of the job's run below `results`; None if it has left none.

    Raises:
        UserError: the service did not answer within `seconds`.
    """
    address = RunAddress.of_job()
    assert address is not None
    give_up = time.monotonic() + seconds
    while True:
        try:
            return _fetch_from(address.open(), results, pattern)
        except OSError as error:
            raise UserError(f"the run's checkpoint cannot be kept here: {error}") from error
        except Exception as error:
            left = give_up - time.monotonic()
            if left <= 0:
                raise UserError(
                    f"cannot learn whether run {address.run_id} has left a checkpoint "
                    f"({type(error).__name__}: {' '.join(str(error).split())[:150]}): start the job "
                    "again later, or without a resume hook to start anew"
                ) from error
            time.sleep(min(RETRY_SECONDS, left))


def _fetch_from(run: Any, results: Path, pattern: str) -> str | None:
    try:
        root = results.resolve().relative_to(Path.cwd().resolve())
    except ValueError:  # outside the job's folder nothing is uploaded
        return None
    artifact = _newest(run.get_file_names(), str(PurePosixPath(root)), pattern)
    if artifact is None:
        return None
    target = Path.cwd() / artifact
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Processes of one node may fetch at the same time: each has a name of its own, the last rename
        # wins.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".fetching-")
        os.close(handle)
        try:
            run.download_file(artifact, name)
            with Path(name).open("rb") as file:
                os.fsync(file.fileno())
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    return str(target.relative_to(Path.cwd()))


def _newest(artifacts: Iterable[str], root: str, pattern: str) -> str | None:
    """Return the artifact below `root` that matches, with the highest version: the service lists no times."""
    expression = re.compile(_as_expression(f"{root}/{pattern}"))
    found = [name for name in artifacts if expression.fullmatch(name)]
    return max(found, key=lambda name: (_version(PurePosixPath(name)), name), default=None)


def _as_expression(pattern: str) -> str:
    parts = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*|\?)", pattern))


def _version(path: PurePosixPath | Path) -> int:
    numbers = [int(part.removeprefix("version_")) for part in path.parts if re.fullmatch(r"version_\d+", part)]
    return numbers[-1] if numbers else -1


def main() -> None:
    """Fetch for `ResumeFromRun`; print the answer as JSON, on the last line."""
    results, pattern, seconds = sys.argv[1:]
    try:
        answer = {"checkpoint": fetch(Path(results), pattern, float(seconds))}
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # the SDK's threads may be slow to end


if __name__ == "__main__":
    main()
