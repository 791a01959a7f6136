"""AzureMLLogger: metrics, hyperparameters, pictures and checkpoints of a Lightning run in Azure ML.

In an Azure ML job they go to the job's own run; outside one the logger is silent and costs nothing, so the
same `Trainer(logger=AzureMLLogger())` works in both places.

The training thread only appends a line to a file (see `outbox`); a process of its own sends it (see `relay`), so
the service, whatever state it is in, neither slows the training nor keeps it from ending, and nothing is lost.
"""

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lightning_fabric.loggers import CSVLogger
from lightning_fabric.utilities.logger import _add_prefix, _convert_params, _flatten_dict, _sanitize_callable_params
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.loggers.utilities import _scan_checkpoints
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

from lightning_cifar.azure import backends
from lightning_cifar.azure.backends import saved_model
from lightning_cifar.azure.delivery import Delivery
from lightning_cifar.azure.encode import Encoder, as_number
from lightning_cifar.azure.outbox import LOCK, MAX_BYTES
from lightning_cifar.azure.run import RunAddress, RunProxy, sign_in_variables, tracking_uri_of
from lightning_cifar.azure.run_status import outcome, reason, seconds_left
from lightning_cifar.azure.service_errors import one_line
from lightning_cifar.azure.studio import StudioLogging

MLFLOW_MODEL = "mlflow-model"
"""Folder of the MLflow model among the files of a run, of a job below `outputs/`."""


class AzureMLLogger(StudioLogging, Logger):
    """Logs to Azure ML; the module's docstring describes how.

    An interactive run ends as Failed or Canceled as soon as a training fails or is interrupted. After a success it
    goes on, because `test` often follows `fit`, and ends with the process that made the logger, or at `close()`: as
    Completed, or Failed if an exception ends the process. An exit code alone, as of `sys.exit(1)` outside of a
    Trainer, cannot be seen. In a job, the job owns the status.

    Args:
        run: an `azureml.core.Run` to log to, or, with a server's address as `workspace`, a run of MLflow's or its id;
            None: the job's own run, on a server that of MLFLOW_RUN_ID, and else none at all. What is logged to another
            run than the job's own is sent with a sign-in of its own, not with the job's token.
        experiment_name: outside a job, start a run of this experiment when something is first logged.
        workspace: where that run is started: an `azureml.core.Workspace`, or the path of a `config.json` or
            of its folder; None: found from the current folder upwards. Or the address of an MLflow server, `http://…`.
        save_dir: folder for checkpoints and, outside a job, for the record of what was logged and the numbers of
            `version_…`; None: `outputs` in a job; outside, the trainer's `default_root_dir` for checkpoints, the
            current folder for the rest.
        prefix: put before each metric's name, with `LOGGER_JOIN_CHAR` between.
        log_model: upload the best and the last checkpoint at the end (True), or each as soon as it is saved
            ("all"). What lies under `outputs/` in a job is uploaded by the platform, and by it alone. By MLflow
            the best one is saved as an MLflow model as well, after a `fit` that succeeds, if pandas is installed.
        backend: "v1" sends with azureml-core, "mlflow" by MLflow, with azureml-mlflow or to any MLflow server; "auto":
            by MLflow where `workspace` is a server's address, or the job names a tracking URI of Azure ML's and
            azureml-mlflow is installed, else with azureml-core. A run is never sent to by both.
        timeout: seconds within which the process ends after the training, whatever the service does; after
            SIGTERM at most 20.
        durable: sync what a call logs to the disk before it returns (milliseconds); else that is done 4 times a second.
        max_bytes: the most of a record that may wait to be sent. What is logged beyond it is not recorded, which is
            counted and warned of, until the service has taken some.

    Raises:
        ValueError: `log_model`, `timeout` or `max_bytes` is none of these.
        UserError: there is no such backend, `workspace` is no address that can be used, or a run is to be started, and
            the workspace's config is missing or cannot be used.
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
        backend: str = "auto",
        durable: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        if log_model not in (True, False, "all") or not timeout >= 0:  # a mistake must not show first in the cloud
            raise ValueError(f"log_model={log_model!r} must be True, False or 'all', timeout={timeout!r} at least 0")
        if not max_bytes > 0:
            raise ValueError(f"max_bytes={max_bytes!r} must be a number of bytes above 0")
        tracking_uri = tracking_uri_of(workspace, backend)
        own = RunAddress.of_job() if run is None else None
        joined = None if own else RunAddress.of_mlflow(run, experiment_name, tracking_uri)
        self._address = own or joined or (None if run is None else RunAddress.of_run(run))
        self._backend = backends.choose(backend, tracking_uri if self._address is None else self._address.tracking_uri)
        self._experiment_name = experiment_name
        self._run = None if joined else run
        self._workspace = workspace if hasattr(workspace, "subscription_id") else None
        self._variables = sign_in_variables(workspace if run is None else run)
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._prefix, self._log_model, self._timeout = prefix, log_model, timeout
        self._how: dict[str, Any] = {"durable": durable, "max_bytes": max_bytes}
        in_job = self._address is not None and self._address.in_its_job
        # The platform uploads these two of a job, even a killed one, whatever folder the training changes to.
        self._uploaded = (Path("outputs").resolve(), Path("logs").resolve()) if in_job else ()
        self._record_folder = self._uploaded[0] if self._uploaded else Path(self._save_dir or ".").absolute()
        self._maker: int | None = None
        self._logged_model_time: dict[str, float] = {}
        self._begin()
        is_rank_zero = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        if self._address is None and run is None and experiment_name is not None and is_rank_zero:
            # Now, so that processes which are forked or spawned share the run, and this one ends it.
            self._address = RunAddress.new(experiment_name, workspace, tracking_uri)
            self._maker = os.getpid()
            self._open_delivery()
        self._folders = CSVLogger(self._save_dir or ".", self.name)  # only to find a free version outside a job

    def _begin(self) -> None:
        """Begin as in a new process: records and names belong to the process that made them."""
        self._experiment: Any = None
        self._delivery: Delivery | None = None
        self._encoder = Encoder(backends.limits(self._backend))
        self._checkpoint_callback: ModelCheckpoint | None = None
        self._best: ModelCheckpoint | None = None  # the callback that saves by a metric, if there is one
        self._module: Any = None
        self._saved: tuple[str, float] | None = None  # the checkpoint that was saved as an MLflow model, and its time

    def __getstate__(self) -> dict[str, Any]:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, _run=None, _workspace=None)  # the address is enough
        copy._begin()
        return copy.__dict__

    @property
    def name(self) -> str:
        """Name of the experiment; `lightning_logs` outside a job."""
        return self._address.experiment if self._address is not None else self._experiment_name or "lightning_logs"

    @property
    def version(self) -> str | int:
        """Id of the run; outside a job the first number whose folder `version_…` is free."""
        return self._address.run_id if self._address is not None else self._folders.version

    @property
    def save_dir(self) -> str | None:
        """Root of the checkpoints' folder; None lets Lightning take the trainer's `default_root_dir`."""
        return os.path.relpath(self._uploaded[0]) if self._save_dir is None and self._uploaded else self._save_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The `azureml.core.Run`, opened at the first use of one of its attributes; outside a job it does nothing.

        By MLflow, the `MlflowClient`, with the run's id there as `run_id`.
        """
        if self._experiment is None:
            self._experiment = RunProxy(self._address, self._backend, self._run, self._workspace)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record scalars: numbers, bools, numpy scalars, one-element tensors on any device."""
        with LOCK:  # any thread may log, as the encoder and the outbox may not
            delivery, metrics = self._open_delivery(), _add_prefix(metrics, self._prefix, self.LOGGER_JOIN_CHAR)
            if delivery is not None and (lines := self._encoder.lines(metrics, step)):
                delivery.write(lines)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters, flattened, as rows of the table `hyperparameters`.

        A table, because a run has room for 50 tags, and properties can never be changed. Rows that are there
        already are not sent again, so a resumed run adds only what has changed. By MLflow they become params.
        """
        if self._address is not None and (flat := _flatten_dict(_convert_params(params))):
            flat = _sanitize_callable_params(flat)
            self.log_table("hyperparameters", ("name", "value"), [(key, str(flat[key])) for key in flat])

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Add the checkpoint's step to those of a standalone `validate` or `test`; remember the network.

        Lightning calls this at the beginning of each run with the model, which knows its trainer.
        """
        self._module = model
        self._encoder.shift = _steps_of_checkpoint(getattr(model, "_trainer", None))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Upload the checkpoint now (`log_model="all"`), or remember to do so at the end (True)."""
        if self._address is not None and self._log_model is not False:
            self._checkpoint_callback = checkpoint_callback
            if self._best is None or checkpoint_callback.monitor is not None:
                self._best = checkpoint_callback
            if self._log_model == "all" or checkpoint_callback.save_top_k == -1:
                self._log_checkpoints(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until everything has arrived, at most `timeout` seconds, and warn of what has not."""
        if self._checkpoint_callback is not None:
            self._log_checkpoints(self._checkpoint_callback)
        self._encoder.shift = 0  # it was that of the evaluation that ends
        error = sys.exc_info()[1]
        how = outcome(status, error)
        if how == "Completed" and self._best is not None and self._backend == "mlflow":
            self._log_mlflow_model(self._best.best_model_path)
        if self._delivery is not None and self._delivery.pid == os.getpid():
            if how != "Completed":
                self._delivery.end(how, reason(error))
            self._delivery.drain(seconds_left(self._timeout, error))

    def close(self) -> None:
        """Send what is left, end an interactive run and the processes that send; for notebooks, which go on.

        The logger can be used again afterwards, for the same run.
        """
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None

    def _open_delivery(self) -> Delivery | None:
        """Return where this process records what it logs; None where there is no run."""
        if self._address is None:
            return None
        with LOCK:
            if self._delivery is not None and self._delivery.pid != os.getpid():  # after a fork
                self._begin()
            if self._delivery is None:
                address = replace(self._address, child=self._address.interactive and self._maker != os.getpid())
                where = self._record_folder, self._timeout, self._variables
                self._delivery = Delivery(address, self._backend, *where, **self._how)
            return self._delivery

    def _name(self, key: str) -> str:
        return f"{self._prefix}{self.LOGGER_JOIN_CHAR}{key}" if self._prefix else key

    def _log_checkpoints(self, callback: ModelCheckpoint) -> None:
        # By its time being another, not later: the clock may have been set back.
        found = [one for one in _scan_checkpoints(callback, {}) if self._logged_model_time.get(one[1]) != one[0]]
        for modified, path, _, _ in found:
            self.log_artifact(path, f"checkpoints/{Path(path).name}")
            self._logged_model_time[path] = modified
        if found and (delivery := self._open_delivery()) is not None:
            tags = {"best_model_path": callback.best_model_path, "last_model_path": callback.last_model_path}
            if (score := as_number(callback.best_model_score)) is not None:
                tags["best_model_score"] = str(score)
            delivery.add("media", {"tags": {name: value for name, value in tags.items() if value}})

    def _log_mlflow_model(self, checkpoint: str) -> None:
        """Save a checkpoint as an MLflow model, once, where MLflow can: among the outputs of a job, or uploaded."""
        if not Path(checkpoint).is_file() or self._saved == (stamp := (checkpoint, Path(checkpoint).stat().st_mtime)):
            return
        self._saved = stamp
        if self._module is None or not saved_model.can_save():
            return
        with TemporaryDirectory() as scratch:
            try:
                folder = saved_model.save_model(self._module, checkpoint, Path(scratch), self._timeout)
            except Exception as error:
                rank_zero_warn(f"AzureMLLogger: {checkpoint} is not saved as an MLflow model: {one_line(error)}")
                return
            if self._uploaded:
                shutil.rmtree(self._uploaded[0] / MLFLOW_MODEL, ignore_errors=True)
                shutil.copytree(folder, self._uploaded[0] / MLFLOW_MODEL)
            else:
                for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                    self.log_artifact(file, f"{MLFLOW_MODEL}/{file.relative_to(folder)}")


def _steps_of_checkpoint(trainer: Any) -> int:
    """Return the steps to add to a trainer's count: the checkpoint's, if it evaluates one without training.

    Lightning restores the weights but not the count. A strategy that restores checkpoints later (FSDP, DeepSpeed)
    leaves it at 0.
    """
    if trainer is None or trainer.global_step > 0 or trainer.state.fn not in (TrainerFn.VALIDATING, TrainerFn.TESTING):
        return 0
    checkpoint = trainer._checkpoint_connector._loaded_checkpoint
    # As Lightning counts the steps of logged metrics; with one optimizer that is `global_step`.
    loops = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.state_dict", {})
    return int(loops.get("_batches_that_stepped", checkpoint.get("global_step", 0)))
