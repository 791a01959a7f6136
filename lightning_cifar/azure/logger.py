"""AzureMLLogger: metrics, hyperparameters, pictures and checkpoints of a Lightning run in Azure ML.

In an Azure ML job they go to the job's own run; outside one the logger is silent and costs nothing, so the
same script and the same config work in both places::

    from lightning_cifar import AzureMLLogger
    trainer = Trainer(logger=AzureMLLogger())

The training thread only appends a line to a file (see `spool`); a process of its own sends it (see
`forwarder`), so the service, whatever state it is in, neither slows the training nor keeps it from ending,
and nothing is lost.
"""

import atexit
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.utilities.logger import _convert_params, _flatten_dict, _sanitize_callable_params
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyExperiment, Logger, rank_zero_experiment
from pytorch_lightning.loggers.utilities import _scan_checkpoints
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.azure import media
from lightning_cifar.azure.arguments import check_arguments
from lightning_cifar.azure.checkpoint_step import steps_of_checkpoint
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.encode import MetricBook
from lightning_cifar.azure.run import RunAddress, RunProxy, require_azureml, sign_in_variables
from lightning_cifar.azure.run_status import is_sigterm, outcome, reason
from lightning_cifar.azure.studio import StudioLogging
from lightning_cifar.processes import is_first

# The platform gives a job 30 s or so between SIGTERM and SIGKILL.
SIGTERM_SECONDS = 20.0
OUTPUTS, LOGS = Path("outputs"), Path("logs")


class AzureMLLogger(StudioLogging, Logger):
    """Logs to Azure ML; the module says how.

    An interactive run ends as Failed or Canceled as soon as a training fails or is interrupted. After a
    success it goes on, because `test` often follows `fit`, and ends with the process that made the logger, or
    at `close()`: as Completed, or Failed if an exception ends the process. An exit code alone, as of
    `sys.exit(1)` outside of a Trainer, cannot be seen. In a job, the job owns the status.

    Args:
        run: an `azureml.core.Run` to log to; None: the job's own run, and outside a job none at all.
        experiment_name: outside a job, start a run of this experiment when something is first logged.
        workspace: where that run is started: an `azureml.core.Workspace`, or the path of a `config.json` or
            of its folder; None: found from the current folder upwards.
        save_dir: folder for checkpoints and, outside a job, for the record of what was logged; None:
            `outputs` in a job; outside, the trainer's `default_root_dir` for the one, the current folder for
            the other. `version_…` is numbered in `save_dir` as well: give it where trainings outside a job
            share a `default_root_dir` elsewhere.
        prefix: put before each metric's name, with `LOGGER_JOIN_CHAR` between.
        log_model: upload the best and the last checkpoint at the end (True), or each as soon as it is saved
            ("all"). What lies under `outputs/` in a job is uploaded by the platform, and by it alone.
        timeout: seconds within which the process ends after the training, whatever the service does; after
            SIGTERM at most `SIGTERM_SECONDS`.

    Raises:
        ValueError: an argument is none of these.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        run: Any = None,
        experiment_name: str | None = None,
        workspace: Any = None,
        save_dir: str | Path | None = None,
        prefix: str = "",
        log_model: Literal["all"] | bool = False,
        timeout: float = 60.0,
    ) -> None:
        super().__init__()
        check_arguments(run, experiment_name, prefix, log_model, timeout)
        self._address = RunAddress.of_run(run) if run is not None else RunAddress.of_job()
        self._experiment_name = experiment_name if run is None else None
        self._run = run
        self._workspace = workspace
        self._variables = sign_in_variables(workspace if run is None else run)
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._prefix = prefix
        self._log_model = log_model
        self._timeout = timeout
        # Where the platform looks, wherever the training goes from here.
        self._home = Path.cwd()
        self._maker: int | None = None
        if self._address is None and self._experiment_name is not None and is_first():
            self._require_address()  # here, so that processes which are forked or spawned share the run
        self._local_version: int | None = None
        self._logged_model_time: dict[str, float] = {}
        self._begin()

    def _begin(self) -> None:
        """Begin as in a new process: journal and names belong to the process that made them."""
        self._experiment: RunProxy | None = None
        self._journal: Delivery | None = None
        self._book = MetricBook(self._prefix, self.LOGGER_JOIN_CHAR)
        self._checkpoint_callback: ModelCheckpoint | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_experiment", "_journal", "_book", "_checkpoint_callback"):
            del state[name]
        state["_run"] = None  # its address is enough, as is the workspace's
        if self._live_workspace is not None:
            state["_address"], state["_workspace"] = self._require_address(), None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def name(self) -> str:
        """Name of the experiment; `lightning_logs` outside a job."""
        if self._address is not None:
            return self._address.experiment
        return self._experiment_name or "lightning_logs"

    @property
    def version(self) -> str | int:
        """Id of the run; outside a job the first number whose folder `version_…` is free."""
        if self._address is not None:
            return self._address.run_id
        if self._active and is_first():
            return self._require_address().run_id
        if self._local_version is None:
            folders = (Path(self._save_dir or ".") / self.name).glob("version_*")
            numbers = [folder.name.removeprefix("version_") for folder in folders]
            self._local_version = max((int(n) for n in numbers if n.isdigit()), default=-1) + 1
        return self._local_version

    @property
    def save_dir(self) -> str | None:
        """Root of the checkpoints' folder; None lets Lightning take the trainer's `default_root_dir`."""
        return os.path.relpath(self._outputs) if self._save_dir is None and self._in_job else self._save_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The `azureml.core.Run`, opened at the first use of one of its attributes; a dummy outside a job."""
        if not self._active:
            return DummyExperiment()
        if self._experiment is None:
            require_azureml()
            self._experiment = RunProxy(self._require_address(), self._run, self._live_workspace)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record scalars: numbers, bools, numpy scalars, one-element tensors on any device.

        Never raises because of the service, and costs some microseconds: the values are appended to a file.
        """
        journal, book = self._journal_and_book()
        if journal is not None and (lines := book.lines(metrics, step)):
            journal.write(lines)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters, flattened, as rows of the table `hyperparameters`.

        A table, because a run has room for 50 tags, and properties can never be changed. Rows that are there
        already are not sent again, so a resumed run adds only what has changed.
        """
        if not self._active or not params:
            return
        journal, book = self._journal_and_book()
        flat = _flatten_dict(_sanitize_callable_params(_convert_params(params)))
        if journal is not None and flat and book.claim("hyperparameters"):
            journal.add("metrics", media.hyperparameters_entry(book.name("hyperparameters"), flat))

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Learn from the trainer whether a standalone evaluation begins: it has the checkpoint's step.

        Lightning calls this at the beginning of each run and shows the logger the model, which knows its
        trainer.
        """
        if self._active:
            self._book.shift = steps_of_checkpoint(getattr(model, "_trainer", None))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Upload the checkpoint now (`log_model="all"`), or remember to do so at the end (True)."""
        if self._active and self._log_model is not False:
            self._checkpoint_callback = checkpoint_callback
            if self._log_model == "all" or checkpoint_callback.save_top_k == -1:
                self._log_checkpoints(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until everything has arrived, at most `timeout` seconds, and say what has not.

        Does nothing on a logger that was never used.
        """
        if self._checkpoint_callback is not None:
            self._log_checkpoints(self._checkpoint_callback)
        self._book.shift = 0  # it was that of the evaluation that ends
        error = sys.exc_info()[1]
        how = outcome(status, error)
        if how != "Completed":
            self._journal_for_the_children()
        if self._journal is None or self._journal.pid != os.getpid():
            return
        if how != "Completed":
            self._journal.end(how, reason(error))
        self._journal.drain(min(self._timeout, SIGTERM_SECONDS) if is_sigterm(error) else self._timeout)

    def close(self) -> None:
        """Send what is left, end an interactive run and the processes that send; for notebooks, which go on.

        The logger can be used again afterwards, for the same run.
        """
        self._journal_for_the_children()
        atexit.unregister(self._at_exit)
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    @property
    def _active(self) -> bool:
        return self._address is not None or self._experiment_name is not None

    @property
    def _in_job(self) -> bool:
        return self._address is not None and self._address.in_its_job

    @property
    def _live_workspace(self) -> Any:
        """The workspace, if an object was passed and not a path."""
        return self._workspace if hasattr(self._workspace, "subscription_id") else None

    @property
    def _outputs(self) -> Path:
        return self._home / OUTPUTS

    @property
    def _record_folder(self) -> Path:
        # The platform uploads outputs/ of a job, also of one that was killed.
        return self._outputs if self._in_job else self._home / (self._save_dir or ".")

    def _require_address(self) -> RunAddress:
        if self._address is None:
            assert self._experiment_name is not None
            self._address = RunAddress.new(self._experiment_name, self._workspace)
            self._maker = os.getpid()
            atexit.register(self._at_exit)
        return self._address

    def _journal_for_the_children(self) -> None:
        """Make a journal, which ends the run, where only processes made from this one have logged to it."""
        if self._journal is not None or self._address is None or self._maker != os.getpid():
            return
        if any(self._record_folder.glob(f"azureml-metrics/{self._address.run_id}-*.jsonl")):
            journal, _ = self._journal_and_book()
            assert journal is not None
            journal.others_logged = True

    def _at_exit(self) -> None:
        if self._journal is None:  # else it sees to that itself
            self._journal_for_the_children()
            if self._journal is not None:
                self._journal.at_exit()

    def _journal_and_book(self) -> tuple[Delivery | None, MetricBook]:
        if not self._active:
            return None, self._book
        if self._journal is not None and self._journal.pid != os.getpid():  # after a fork
            self._begin()
        if self._journal is None:
            address = self._require_address()
            if address.interactive and self._maker != os.getpid():
                address = replace(address, child=True)
            self._journal = Delivery(address, self._record_folder, self._timeout, self._variables)
        return self._journal, self._book

    def _platform_uploads(self, path: Path) -> bool:
        return self._in_job and any(
            path.resolve().is_relative_to((self._home / root).resolve()) for root in (OUTPUTS, LOGS)
        )

    def _log_checkpoints(self, callback: ModelCheckpoint) -> None:
        found = _scan_checkpoints(callback, self._logged_model_time)
        for modified, path, _, _ in found:
            self.log_artifact(path, f"checkpoints/{Path(path).name}")
            self._logged_model_time[path] = modified
        journal, _ = self._journal_and_book()
        if found and journal is not None:
            score = callback.best_model_score
            tags = {
                "best_model_path": callback.best_model_path,
                "best_model_score": "" if score is None else str(float(score)),
                "last_model_path": callback.last_model_path,
            }
            journal.add("media", {"tags": {name: value for name, value in tags.items() if value}})
