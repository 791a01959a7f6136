"""The command line: LightningCLI with this project's defaults, and errors for people."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightning_cifar.callbacks.checkpoints import check_loads, newest_checkpoint
from lightning_cifar.callbacks.graceful_stop import Interrupted, last_words, raise_when_signalled
from lightning_cifar.callbacks.predictions import PredictionPrinter
from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.datamodule import CIFAR10DataModule
from lightning_cifar.errors import UserError, complain, one_line, place, raised_by_library
from lightning_cifar.model_config import NetChoice
from lightning_cifar.parser import HELP, Parser, readable
from lightning_cifar.processes import is_first
from lightning_cifar.quiet_warnings import quieter
from lightning_cifar.report import summary, write_figures
from lightning_cifar.said import Said
from lightning_cifar.save_config import SaveConfig

DEFAULTS = Path(__file__).parent / "recipes" / "default.yaml"

REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or name another place") | dict.fromkeys(
    (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
    "name another place with --trainer.default_root_dir or --data.data_dir",
)
"""What to do where something cannot be written."""


class Checked(Exception):  # noqa: N818  # no error: the flags are good, and nothing was built
    """Raised instead of building anything, where only the flags were to be checked."""


class CLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` with the classifier and the data module of this package.

    Args:
        args: the command line; by default the process's own.
        check_only: raise `Checked` instead of building anything.
    """

    def __init__(self, args: Sequence[str] | None = None, check_only: bool = False) -> None:
        self.given = list(sys.argv[1:] if args is None else args)
        self.check_only = check_only
        super().__init__(
            CIFAR10Classifier,
            CIFAR10DataModule,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={name: {"default_config_files": [str(DEFAULTS)]} for name in self.subcommands()},
            args=None if args is None else list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the hook that is asked where to resume."""
        parser.add_argument(
            "--resume",
            type=Callable[[Path], str | None] | None,
            help="Before fit without --ckpt_path: is given the results folder, says what to resume from, if anything.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and find the file that `--ckpt_path last` or `best` means."""
        said = Said(self.given)
        if any(name.rpartition(".")[2] != "SGD" for name in said.classes("optimizer")):
            # Forget SGD first: jsonargparse would carry its weight_decay of 0 over to AdamW, for one.
            self.given.insert(said.place_of_subcommand + 1, "--optimizer=null")
        self.config = parser.parse_args(self.given)
        if self.check_only:
            raise Checked
        config = self.config[self.config.subcommand]
        if config.model.loss_window is None and config.trainer.log_every_n_steps:  # to Lightning, 0 is never
            config.model.loss_window = config.trainer.log_every_n_steps
        self.net_choice = NetChoice(config, said)
        if config.ckpt_path is None:
            if self.config.subcommand != "fit":
                raise UserError(
                    f"{self.config.subcommand} needs a trained network: give --ckpt_path last, best or FILE"
                )
        else:
            config.ckpt_path = self._checkpoint(config.ckpt_path, Path(config.trainer.default_root_dir))

    @staticmethod
    def _checkpoint(wanted: str, results: Path) -> str:
        try:
            path = newest_checkpoint(results, wanted) if wanted in ("last", "best") else Path(wanted)
            check_loads(path)
        except UserError:
            if is_first():
                raise
            # Nodes share no files: process 0 reads the checkpoint and hands it over, whatever the name here. Only the
            # network in it has to be named again.
            return "handed-over-by-process-0.ckpt"
        if is_first() and wanted != str(path):
            print(f"--ckpt_path {wanted} is {path}")
        return str(path)

    def before_instantiate_classes(self) -> None:
        """Fit the network to the data, and the run's folder to the results folder."""
        config = self.config[self.subcommand]
        if config.ckpt_path is not None:
            self.net_choice.put_over_checkpoint(config)
        if self.subcommand == "predict":  # prints, and leaves nothing behind
            config.trainer.logger, self.save_config_callback = False, None
            config.trainer.devices = config.trainer.num_nodes = 1  # each image once, in order
        else:
            self.net_choice.fit_to_data(config)
        self._let_callbacks_give_way(config.trainer)
        self._let_optimizer_give_way(config)
        self._name_folder(config.trainer, Path(config.data.source).resolve().name)

    @staticmethod
    def _let_callbacks_give_way(trainer: Any) -> None:
        """Leave out what another flag switches off: the Trainer would refuse it."""
        off = {
            "lightning_cifar.callbacks.progress.ProgressBar": trainer.enable_progress_bar is False,
            "lightning_cifar.callbacks.checkpoints.RunCheckpoint": trainer.enable_checkpointing is False,
            "lightning_cifar.callbacks.graceful_stop.GracefulStop": trainer.enable_checkpointing is False,
        }
        trainer.callbacks = [callback for callback in trainer.callbacks or [] if not off.get(callback.class_path)]

    @staticmethod
    def _let_optimizer_give_way(config: Any) -> None:
        """Take SGD's plain kernels where float16 has gradients scaled.

        Where the scaled gradients of the first step overflow, the fused kernel skips it, but leaves the momentum as it
        found it: memory that nobody has written to (PyTorch 2.11 to 2.15).
        """
        optimizer = config.get("optimizer")
        if str(config.trainer.precision) in ("16-mixed", "16") and optimizer and optimizer.class_path.endswith(".SGD"):
            optimizer.init_args.fused = False

    def _name_folder(self, trainer: Any, data: str) -> None:
        """Let the run have a folder below that of the results, called after its data."""
        for logger in trainer.logger if isinstance(trainer.logger, list) else []:
            settings = logger.get("init_args", {})
            if settings.get("save_dir") == "results":
                settings.save_dir = trainer.default_root_dir
            if settings.get("name") == "lightning_logs":
                settings.name = data
        if trainer.logger is False and self.subcommand == "fit":
            # checkpoints need a folder of the run all the same
            trainer.default_root_dir = TensorBoardLogger(trainer.default_root_dir, data).log_dir

    def instantiate_classes(self) -> None:
        """Build trainer, classifier and data module.

        Raises:
            UserError: one of them refuses its arguments.
        """
        try:
            super().instantiate_classes()
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
            reason, accelerator = readable(str(error)), self.config[self.subcommand].trainer.accelerator
            if "backend found" in reason or "can not run on your system" in reason:
                reason = f"no {accelerator} here for --trainer.accelerator {accelerator} ({reason}); leave it out"
            raise UserError(f"{reason}{place(error) or f'; {HELP}'}") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; for `predict`, one that prints."""
        trainer = super().instantiate_trainer(**kwargs)
        if self.subcommand == "predict":
            trainer.callbacks.append(PredictionPrinter())  # type: ignore[attr-defined]  # set where mypy does not look
        return trainer

    def before_fit(self) -> None:
        """Ask where to resume, and start the clock."""
        config = self.config_init[self.subcommand]
        if config.ckpt_path is None and config.resume is not None:
            config.ckpt_path = self._where_to_resume(config.resume)
        self.started = monotonic()

    def _where_to_resume(self, ask: Callable[[Path], str | None]) -> str | None:
        """Ask the hook; where the platform started several processes, process 0 asks for all: their disks differ."""
        results, strategy = Path(self.trainer.default_root_dir), self.trainer.strategy
        if self.trainer.world_size == 1 or "RANK" not in os.environ:
            return ask(results)
        strategy.setup_environment()  # as `fit` would do in a moment
        answer: str | UserError | None = None
        if self.trainer.is_global_zero:
            try:
                answer = ask(results)
            except UserError as error:
                answer = error
        answer = strategy.broadcast(answer)
        if isinstance(answer, UserError):
            raise answer
        return answer

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights where there is none; draw figures and say how it went."""
        seconds = monotonic() - self.started
        trainer = self.trainer
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        try:
            self._test_and_report(seconds, folder)
        except Interrupted as interrupted:
            if getattr(trainer.checkpoint_callback, "best_model_path", ""):
                interrupted.remedy = f"the training had ended and lies in {folder}; next: test --ckpt_path best"
            raise

    def _test_and_report(self, seconds: float, folder: Path) -> None:
        trainer = self.trainer
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        (result,) = trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best or None, verbose=False) or ({},)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set where mypy does not look
            return
        write_figures(trainer, self.model, self.datamodule, folder)
        for one in trainer.loggers:
            one.finalize("success")
        if trainer.is_global_zero:
            print(summary(trainer, self.model, self.datamodule, seconds, result.get("test_acc"), folder))


def check_flags(args: Sequence[str]) -> None:
    """Make sure that the command line `python -m lightning_cifar ARGS…` is one that it would take.

    Raises:
        UserError: it is not.
    """
    with contextlib.suppress(Checked):
        CLI(args, check_only=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own.

    Returns:
        The exit code: 0, 1 for what a user can put right, 130 after Ctrl-C, 143 after SIGTERM (0 in the processes that
        Lightning has started beside the first).
    """
    raise_when_signalled()
    try:
        with quieter():
            CLI(args)
    except Interrupted as last:
        interrupted = last.first
        if is_first():
            with last_words():
                print(f"{interrupted}; {interrupted.remedy}", file=sys.stderr)
        elif "RANK" not in os.environ:  # a process that Lightning started: by another code than 0 it would have the
            return 0  # first process killed, which may still be sending metrics
        return interrupted.exit_code
    except UserError as error:
        return complain(str(error))
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        return complain(f"cannot write {error.filename or 'to the disk'}: {error.strerror}; {remedy}")
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        if not raised_by_library(error):
            raise
        return complain(f"{one_line(str(error))}; {HELP}")
    return 0
