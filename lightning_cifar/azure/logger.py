"""AzureMLLogger: metrics, hyperparameters, pictures and checkpoints of a Lightning run in Azure ML.

In an Azure ML job they go to the job's own run; outside one the logger is silent and costs nothing, so the same
script and the same config work in both places::

    from lightning_cifar import AzureMLLogger
    trainer = Trainer(logger=AzureMLLogger())

The training thread only appends a line to a file (see `spool`); a process of its own sends it (see `forwarder`), so
the service, whatever state it is in, neither slows the training nor keeps it from ending, and nothing is lost.
"""

import atexit
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.utilities.logger import _add_prefix, _convert_params, _flatten_dict, _sanitize_callable_params
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyExperiment, Logger, rank_zero_experiment
from pytorch_lightning.loggers.utilities import _scan_checkpoints
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_cifar.azure import media
from lightning_cifar.azure.evaluation import steps_of_checkpoint
from lightning_cifar.azure.metrics import MetricBook
from lightning_cifar.azure.process import ForwardedSpool
from lightning_cifar.azure.run import RunAddress, RunProxy, require_azureml, sign_in_variables
from lightning_cifar.azure.spool import Progress, pending

# The platform gives a job 30 s or so between SIGTERM and SIGKILL.
SIGTERM_SECONDS = 20.0
# Part of the time that is left for everything else that a process does at its end.
_MARGIN = 0.1
OUTPUTS = Path("outputs")


class AzureMLLogger(Logger):
    """Logs to Azure ML; see the module for how.

    An interactive run ends as Failed or Canceled as soon as a training fails or is interrupted. After a success it
    goes on, because `test` often follows `fit`, and ends as Completed with the process, or at `close()`. In a job,
    the job owns the status.

    Args:
        run: an `azureml.core.Run` to log to; None: the job's own run, and outside a job none at all.
        experiment_name: outside a job, start a run of this experiment, at the first thing logged.
        workspace: where that run is started: an `azureml.core.Workspace`, or the path of a `config.json` or its
            folder; None: found from the current folder upwards.
        save_dir: folder for checkpoints and, outside a job, for the record of what was logged; None: `outputs` in a
            job, the trainer's `default_root_dir` or the current folder outside.
        prefix: put before each metric's name, with `LOGGER_JOIN_CHAR` between.
        log_model: upload the best and the last checkpoint at the end (True), or every one as soon as it is saved
            ("all"). What lies under `outputs/` in a job is uploaded by the platform, and by it alone.
        timeout: seconds within which the process ends after the training, whatever the service does; after SIGTERM
            at most `SIGTERM_SECONDS`.
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
        self._experiment_name = experiment_name
        self._workspace = workspace if run is None and experiment_name is not None else None
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._prefix = prefix
        self._log_model = log_model
        self._timeout = timeout
        self._variables = sign_in_variables(run) if run is not None else sign_in_variables(workspace)
        self._address = RunAddress.of_run(run) if run is not None else RunAddress.of_job()
        self._experiment: RunProxy | None = None
        self._local_version: int | None = None
        self._logged_model_time: dict[str, float] = {}
        self._forget_process()

    def _forget_process(self) -> None:
        """Begin as in a new process: spools, forwarders and what was logged belong to the one that made them."""
        self._pid = os.getpid()
        self._spools: dict[str, ForwardedSpool] = {}
        self._book = MetricBook(self._prefix, self.LOGGER_JOIN_CHAR)
        self._checkpoint_callback: ModelCheckpoint | None = None
        self._pictures: dict[str, int] = {}
        self._patient_until: float | None = None
        self._warned = False
        self._ended = False

    def __getstate__(self) -> dict[str, Any]:
        # A Workspace holds connections and a sign-in; its address has been taken by then, or is taken here.
        state = self.__dict__.copy()
        for name in ("_spools", "_book", "_checkpoint_callback", "_experiment"):
            del state[name]
        if hasattr(self._workspace, "subscription_id"):
            state["_address"], state["_workspace"] = self._require_address(), None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._experiment = None
        self._forget_process()

    @property
    def _active(self) -> bool:
        return self._address is not None or self._experiment_name is not None

    def _require_address(self) -> RunAddress:
        if self._address is None:
            assert self._experiment_name is not None
            self._address = RunAddress.new(self._experiment_name, self._workspace)
        return self._address

    # -- what Lightning asks of a logger -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the experiment; `lightning_logs` outside a job."""
        if self._address is not None:
            return self._address.experiment
        return self._experiment_name or "lightning_logs"

    @property
    def version(self) -> str | int:
        """Id of the run; outside a job the first number whose folder `version_…` is free."""
        if self._active and rank_zero_only.rank == 0:
            return self._require_address().run_id
        if self._address is not None:
            return self._address.run_id
        if self._local_version is None:
            root = Path(self.save_dir or ".") / self.name
            taken = [path.name.removeprefix("version_") for path in root.glob("version_*")]
            self._local_version = max((int(number) for number in taken if number.isdigit()), default=-1) + 1
        return self._local_version

    @property
    def save_dir(self) -> str | None:
        """Root of the checkpoints' folder; None lets Lightning take the trainer's `default_root_dir`."""
        if self._save_dir is None and self._in_job:
            return os.fspath(OUTPUTS)
        return self._save_dir

    @property
    def _in_job(self) -> bool:
        return self._address is not None and self._address.in_its_job

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The `azureml.core.Run`, opened at the first use of one of its attributes; a dummy outside a job."""
        if not self._active:
            return DummyExperiment()
        if self._experiment is None:
            require_azureml()
            self._experiment = RunProxy(self._require_address())
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record scalars: numbers, bools, numpy scalars, one-element tensors on any device.

        Never raises because of the service, and costs some microseconds: the values are appended to a file.
        """
        if self._active and metrics:
            spool = self._spool("metrics")
            self._write(spool, self._book.lines(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters, flattened, as rows of the table `hyperparameters`.

        A table, because a run has room for 50 tags, and properties can never be changed. Rows that are there
        already are not sent again, so a resumed run adds only what has changed.
        """
        flat = _flatten_dict(_sanitize_callable_params(_convert_params(params)))
        if self._active and flat and self._book.claim("hyperparameters"):
            self._log_entry("metrics", media.hyperparameters_entry(flat))

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Learn from the trainer whether this is a standalone `validate` or `test`, which has the checkpoint's step.

        Lightning calls this at the beginning of each run and shows the logger the model, which knows its trainer.
        """
        if self._active:
            self._book.shift = steps_of_checkpoint(getattr(model, "_trainer", None))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Upload the checkpoint now (`log_model="all"`), or remember to do so at the end (True)."""
        if not self._active or self._log_model is False:
            return
        self._checkpoint_callback = checkpoint_callback
        if self._log_model == "all" or checkpoint_callback.save_top_k == -1:
            self._log_checkpoints(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until everything has arrived, at most `timeout` seconds, and say what has not.

        Does nothing on a logger that was never used.
        """
        if not self._active or not self._used:
            return
        if self._checkpoint_callback is not None and self._log_model is not False:
            self._log_checkpoints(self._checkpoint_callback)
        error = sys.exc_info()[1]
        outcome = _outcome(status, error)
        seconds = min(self._timeout, SIGTERM_SECONDS) if _is_sigterm(error) else self._timeout
        if self._owns_status and outcome != "Completed":
            self._end(outcome, now=True, reason=None if error is None else f"{type(error).__name__}: {error}")
        self._drain(seconds)

    # -- more than metrics ---------------------------------------------------------------------------------------

    @rank_zero_only
    def log_image(self, key: str, images: Any, step: int | None = None) -> None:
        """Show images under `key`: one or a list of figures, PIL images, paths, tensors (C, H, W), arrays (H, W, C)."""
        if not self._active or not self._book.claim(key):
            return
        step = None if step is None else step + self._book.shift
        images = media.as_list(images)
        for index, image in enumerate(images):
            suffix = f"-{index}.png" if len(images) > 1 else ".png"
            path = self._new_file(media.artifact_name("images", key, step, suffix))
            media.save_image(image, self._spool("media").files / path)
            self._log_entry("media", {"image": key, "path": path, "step": step})

    @rank_zero_only
    def log_figure(self, key: str, figure: Any, step: int | None = None) -> None:
        """Show a figure of matplotlib's under `key`."""
        self.log_image(key, [figure], step)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Add rows to the table `key`, given as columns and data or as a pandas DataFrame; `step` is a column more."""
        if dataframe is not None:
            columns, data = list(dataframe.columns), dataframe.to_numpy().tolist()
        if columns is None or data is None:
            raise ValueError(f"table {key!r} needs columns and data, or a dataframe")
        step = None if step is None else step + self._book.shift
        entry = media.table_entry(key, columns, data, step)
        if self._active and self._book.claim(key):
            self._log_entry("metrics", entry)

    @rank_zero_only
    def log_text(self, key: str, text: str, step: int | None = None) -> None:
        """Keep a text as a file of the run."""
        if self._active:
            path = self._new_file(media.artifact_name("texts", key, step, ".txt"))
            target = self._spool("media").files / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            self._log_entry("media", {"file": path, "path": path})

    @rank_zero_only
    def log_confusion_matrix(
        self, key: str, matrix: Any, class_names: Sequence[str], step: int | None = None
    ) -> None:
        """Draw a confusion matrix (true class, predicted class) of counts; Studio keeps one per name.

        A second one under the same key gets the step, or a number, added to its name.
        """
        if not self._active:
            return
        if key in self._pictures:
            self._pictures[key] += 1
            key = f"{key}_{self._pictures[key] if step is None else step}"
        self._pictures[key] = 1
        entry = media.confusion_matrix_entry(key, matrix, class_names)
        if self._book.claim(key):
            self._log_entry("media", entry)

    @rank_zero_only
    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file, such as the run's config, under its own name or `artifact_path`.

        What lies under `outputs/` or `logs/` in a job is left to the platform.
        """
        path = Path(path)
        if self._active and not self._platform_uploads(path):
            name = self._new_file(artifact_path or path.name)
            media.copy_whole(path, self._spool("media").files / name)
            self._log_entry("media", {"file": name, "path": name})

    def close(self) -> None:
        """Send what is left and end an interactive run; for notebooks, whose process does not end."""
        if self._pid != os.getpid() or not self._used:
            return
        if self._owns_status and not self._ended:
            self._end("Completed", now=True)
        self._drain(self._timeout)

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _used(self) -> bool:
        return self._pid == os.getpid() and bool(self._spools)

    @property
    def _owns_status(self) -> bool:
        return self._address is not None and self._address.interactive

    def _spool(self, kind: Literal["metrics", "media"]) -> ForwardedSpool:
        """Return this process's spool: one for what goes inline, one for uploads, which must not hold up the curve."""
        if self._pid != os.getpid():
            self._forget_process()
        if kind not in self._spools:
            address = self._require_address()
            require_azureml()
            if not self._spools:
                atexit.register(self.close)
            # The platform uploads outputs/ of a job, also of one that was killed.
            root = OUTPUTS if self._in_job else Path(self._save_dir or ".")
            stem = f"{address.run_id}-{time.strftime('%Y%m%d-%H%M%S')}-{self._pid}-{kind}"
            path = root / "azureml-metrics" / f"{stem}.jsonl"
            self._spools[kind] = ForwardedSpool(path, address, self._timeout, self._variables)
        return self._spools[kind]

    def _write(self, spool: ForwardedSpool, lines: str) -> None:
        if not lines:
            return
        try:
            spool.append(lines)
        except OSError as error:
            if not self._warned:
                self._warned = True
                rank_zero_warn(f"AzureMLLogger cannot record metrics, the training goes on without: {error}")

    def _log_entry(self, kind: Literal["metrics", "media"], entry: dict[str, Any]) -> None:
        try:
            self._spool(kind).append_entry(entry)
        except OSError as error:
            rank_zero_warn(f"AzureMLLogger cannot record {next(iter(entry))!r}: {error}")

    def _new_file(self, name: str) -> str:
        """Return `name`, or a numbered one if it was used: an artifact of Azure ML cannot be replaced."""
        path = Path(name)
        number = self._pictures[name] = self._pictures.get(name, -1) + 1
        return name if number == 0 else str(path.with_name(f"{path.stem}-v{number}{path.suffix}"))

    def _platform_uploads(self, path: Path) -> bool:
        roots = (OUTPUTS.resolve(), Path("logs").resolve())
        return self._in_job and any(path.resolve().is_relative_to(root) for root in roots)

    def _log_checkpoints(self, callback: ModelCheckpoint) -> None:
        found = _scan_checkpoints(callback, self._logged_model_time)
        for modified, path, _, _ in found:
            self.log_artifact(path, f"checkpoints/{Path(path).name}")
            self._logged_model_time[path] = modified
        if found:
            score = callback.best_model_score
            tags = {
                "best_model_path": callback.best_model_path,
                "best_model_score": "" if score is None else str(float(score)),
                "last_model_path": callback.last_model_path,
            }
            self._log_entry("media", {"tags": {name: value for name, value in tags.items() if value}})

    def _end(self, status: str, now: bool, reason: str | None = None) -> None:
        self._ended = True
        self._log_entry("metrics", {"end": status, "now": now, "reason": reason})

    def _drain(self, seconds: float) -> None:
        """Wait for the forwarders. Several waits in a row that end in vain share one time limit."""
        began = time.monotonic()
        if self._patient_until is None:
            self._patient_until = began + seconds * (1 - _MARGIN)
        until = min(self._patient_until, began + seconds * (1 - _MARGIN))
        spools = list(self._spools.values())
        soon = min(until, began + 3.0)
        if all(spool.wait(soon) for spool in spools):
            self._patient_until = None
        else:
            if until > soon:
                rank_zero_info(f"Waiting for Azure ML to take the last metrics, at most {until - soon:.0f} s more ...")
            if all([spool.wait(until) for spool in spools]):
                self._patient_until = None
        if not self._warned:
            self._warn_of_pending()

    def _warn_of_pending(self) -> None:
        for spool in self._spools.values():
            progress = Progress.read(spool.path)
            left = pending(spool.path)
            if left:
                self._warned = True
                why = f" ({progress.error})" if progress.error else ""
                rank_zero_warn(
                    f"AzureMLLogger: {left} entries have not reached Azure ML{why}. They are kept in {spool.path}; "
                    f"send them later with: python -m lightning_cifar.azure.replay {spool.path}"
                )
            if progress.rejected:
                self._warned = True
                rank_zero_warn(
                    f"AzureMLLogger: Azure ML refused {len(progress.rejected)} entries, first: {progress.rejected[0]}"
                )


def _outcome(status: str, error: BaseException | None) -> str:
    """Return the status of a run whose training ended with `status` while `error` was being handled."""
    if status in ("success", "finished"):
        return "Completed"
    if isinstance(error, KeyboardInterrupt) or hasattr(error, "signum") or _is_sigterm(error):
        return "Canceled"
    if isinstance(error, SystemExit) and not error.code:
        return "Completed"
    return "Failed"


def _is_sigterm(error: BaseException | None) -> bool:
    """Whether the training ends because of SIGTERM: Lightning's exception, or one that carries the signal."""
    return getattr(error, "signum", None) == signal.SIGTERM or type(error).__name__ == "SIGTERMException"
