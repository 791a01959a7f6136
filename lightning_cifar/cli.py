"""The command line: LightningCLI with this project's defaults, and errors in one line."""

import contextlib
import errno
import gc
import json
import os
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from jsonargparse import Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ProgressBar as AnyBar
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_cifar.callbacks.checkpoints import RunCheckpoint
from lightning_cifar.callbacks.graceful_stop import GracefulStop, Interrupted, print_last, raise_when_signalled
from lightning_cifar.callbacks.progress import ProgressBar
from lightning_cifar.ckpt_path import ask_where_to_resume, resolve_ckpt_path
from lightning_cifar.classifier import CIFAR10Classifier
from lightning_cifar.data import resolve_source
from lightning_cifar.data.cifar10 import CLASS_NAMES
from lightning_cifar.datamodule import CIFAR10DataModule
from lightning_cifar.durations import Duration
from lightning_cifar.errors import UserError, one_line, place, raised_by_library, report
from lightning_cifar.model_config import fit_to_data
from lightning_cifar.optimizers import GroupSettings, build_optimizer
from lightning_cifar.quiet_warnings import quiet_warnings
from lightning_cifar.recipes import RECIPES, configs_first
from lightning_cifar.report import images_per_second, last_lines, write_figures
from lightning_cifar.results import recipe_name, summarize, write_results
from lightning_cifar.run_folder import SaveConfig, name_run_folder
from lightning_cifar.seeds import report_runs, split_seeds

DEFAULTS = RECIPES["default"]
SGD = "torch.optim.SGD"
HELP = "see python -m lightning_cifar fit --help"
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


class Checked(Exception):  # noqa: N818  # no error: the flags are good, and nothing was built
    """Raised instead of building anything, where only the flags were to be checked."""


class CLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` with the classifier and the data module of this package.

    Args:
        args: the command line; by default the process's own.
        check_only: raise `Checked` instead of building anything.
        prefix: of the metrics in loggers whose run all trainings of this process share.
    """

    def __init__(self, args: Sequence[str] | None = None, check_only: bool = False, prefix: str = "") -> None:
        self.check_only, self.prefix = check_only, prefix
        self.results: dict[str, Any] = {}
        raises = {"exit_on_error": False}
        defaults = raises | {"default_config_files": [str(DEFAULTS)]}
        super().__init__(
            CIFAR10Classifier,
            CIFAR10DataModule,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,  # see `instantiate_classes`
            parser_kwargs=raises | {name: dict(defaults) for name in self.subcommands()},
            args=configs_first(sys.argv[1:] if args is None else args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the optimizer, its schedule and groups of parameters, the clock of checkpoints, and the resume hook."""
        parser.epilog = (
            "Before all others are read: --recipe NAME, for --config lightning_cifar/recipes/NAME.yaml "
            f"({', '.join(RECIPES)}); and fit --seeds 0,1,2, one training with each, and a table of them."
        )
        parser.add_optimizer_args()
        parser.add_lr_scheduler_args()
        parser.add_class_arguments(GroupSettings, "norms")
        parser.add_class_arguments(GroupSettings, "biases")
        parser.add_argument(
            "--checkpoint_every",
            type=Duration | None,
            help="Save last.ckpt also by the clock, so that a run that is killed goes on from there: 10m, 1h or null.",
        )
        parser.add_argument(
            "--resume",
            type=Callable[[Path], str | None] | None,
            help="Called before fit without --ckpt_path: from the results folder to the checkpoint to go on from.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the flags, once more without defaults; resolve `--ckpt_path last` and `best`.

        Raises:
            UserError: a flag or a config file is refused, or no checkpoint is given where one is needed.
        """
        try:
            self.config = parser.parse_args(args)
            self.said = self._without_defaults(args)
            if self.said.optimizer and self.said.optimizer.class_path != SGD:
                # jsonargparse carries SGD's arguments over to other optimizers: a weight_decay of 0, for one.
                optimizer = json.dumps(self.said.optimizer.as_dict())
                self.config = parser.parse_args([*args, "--optimizer=null", f"--optimizer={optimizer}"])
        except ArgumentError as error:
            raise UserError(f"{one_line(error)}; {HELP}") from error
        if self.check_only:
            raise Checked
        config = self.config[self.config.subcommand]
        self.parsed = config.clone()
        if config.ckpt_path is not None:
            net = getattr(self.said.model.net, "class_path", None)
            config.ckpt_path = resolve_ckpt_path(config.ckpt_path, Path(config.trainer.default_root_dir), net)
        elif self.config.subcommand != "fit":
            raise UserError(f"{self.config.subcommand} needs a trained network: give --ckpt_path last, best or FILE")

    def _without_defaults(self, args: Sequence[str]) -> Namespace:
        """Return what the user said; of what was not said, what default.yaml says, which names no network."""
        defaults = self._parser(self.config.subcommand).parse_path(DEFAULTS, defaults=False)
        defaults.optimizer = Namespace(class_path=SGD)
        known = Namespace({self.config.subcommand: defaults})
        return self.parser.parse_args(args, defaults=False, namespace=known)[self.config.subcommand]

    def before_instantiate_classes(self) -> None:
        """Settle what depends on more than one flag: source, network, window of `loss`, optimizer, run folder."""
        config, said = self.config[self.subcommand], self.said
        if said.model.net is not None:  # the checkpoint's stands in its place
            config.model.net = self.parsed.model.net
        if self.subcommand == "predict":  # prints, and leaves nothing behind
            config.trainer.logger, self.save_config_callback = False, None
            config.trainer.devices = config.trainer.num_nodes = 1  # each image once, in order
            fit_to_data(config, said.model.net, config.model.class_names or CLASS_NAMES)
        else:
            data = config.data
            source = resolve_source(data.source, data.data_dir, data.mirrors, data.fallback)
            if source.name == data.fallback:
                data.source = data.fallback
            data.fallback = None  # once settled, the data module has nothing to choose
            fit_to_data(config, said.model.net, source.class_names())
        for name in ("loss_window", "label_smoothing", "tta"):  # as for the network
            if said.model.get(name) is not None:
                config.model[name] = said.model[name]
        if said.model.loss_window is None and config.trainer.log_every_n_steps:  # to Lightning, 0 is never
            config.model.loss_window = config.trainer.log_every_n_steps
        optimizer = config.optimizer
        if optimizer and optimizer.class_path == SGD and str(config.trainer.precision) in ("16-mixed", "16"):
            # Where the scaled gradients of the first step overflow, the fused kernel skips the step, but leaves the
            # momentum as it found it: memory that nobody has written to (PyTorch 2.11 to 2.15).
            optimizer.init_args.fused = False
        if config.lr_scheduler and not optimizer:
            raise UserError("--lr_scheduler has no effect without --optimizer: set it up in configure_optimizers, too")
        for callback in config.trainer.callbacks if isinstance(config.trainer.callbacks, list) else []:
            if callback.class_path.endswith(".GracefulStop"):
                callback.init_args.checkpoint_every = config.checkpoint_every and int(config.checkpoint_every)
        for logger in config.trainer.logger if self.prefix and isinstance(config.trainer.logger, list) else []:
            if "prefix" in logger.init_args and not logger.class_path.endswith("RunLogger"):
                logger.init_args.prefix = self.prefix
        name_run_folder(config.trainer, data=Path(config.data.source).resolve().name, saves=self.subcommand == "fit")

    def instantiate_classes(self) -> None:
        """Build trainer, classifier and data module.

        Raises:
            UserError: one of them refuses its arguments.
        """
        try:
            super().instantiate_classes()
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise UserError(f"{one_line(error)}{place(error) or f'; {HELP}'}") from error
        config = self.config_init[self.subcommand]
        if config.optimizer:
            chosen = config.optimizer, config.lr_scheduler, config.norms, config.biases
            self.model.configure_optimizers = partial(build_optimizer, self.model, *chosen)
            said = self.said.optimizer != Namespace(class_path=SGD)
            self.model.optimizer_origin = "--optimizer" if said else "recipes/default.yaml"

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer without the default callbacks that another flag or callback replaces."""
        config = self.config_init[self.subcommand]
        callbacks = config.trainer.callbacks or []
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        unwanted: list[type] = []
        if config.trainer.enable_checkpointing is False:
            unwanted += [RunCheckpoint, GracefulStop]
        if config.trainer.enable_progress_bar is False or sum(isinstance(one, AnyBar) for one in callbacks) > 1:
            unwanted += [ProgressBar]
        if self.subcommand != "fit":
            unwanted += [WeightAveraging]  # it has nothing to average, and warns of that
        config.trainer.callbacks = [one for one in callbacks if not isinstance(one, tuple(unwanted))]
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Ask where to resume, and start the clock."""
        config = self.config_init[self.subcommand]
        if config.ckpt_path is None and config.resume is not None:
            config.ckpt_path = ask_where_to_resume(config.resume, self.trainer)
        self.started = monotonic()

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights where there is none; draw figures and print a summary."""
        seconds, trainer = monotonic() - self.started, self.trainer
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        best = getattr(trainer.checkpoint_callback, "best_model_path", None) or None
        # Once it has averaged, such a callback has not the average of a checkpoint tested, but the weights beside it.
        left = [one for one in trainer.callbacks if not isinstance(one, WeightAveraging)]  # type: ignore[attr-defined]
        trainer.callbacks = left  # type: ignore[attr-defined]
        try:
            trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False)
            if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set where mypy does not look
                return
            write_figures(trainer, self.model, self.datamodule, folder)
            for logger in trainer.loggers:
                logger.finalize("success")
        except Interrupted as interrupted:
            if best:
                interrupted.remedy = f"the training had ended and lies in {folder}; next: test --ckpt_path best"
            raise
        if trainer.is_global_zero:
            speed = images_per_second(trainer, self.model, self.datamodule, seconds)
            seconds += self.model.resume_state.seconds_before
            print(last_lines(trainer, self.model, self.datamodule, seconds, speed, folder))
            config = self.config[self.subcommand]
            recipe = recipe_name(config.get("config") or ())
            name, seed = self.datamodule.source.name, config.seed_everything
            summary = summarize(trainer, self.model, name, recipe, seed, seconds, speed)
            write_results(folder, summary, self.model)
            self.results = summary | {"folder": folder, "loss_history": self.model.loss_history}

    def after_predict(self) -> None:
        """Print file, class and probability of each image."""
        probabilities = torch.cat(self.trainer.predict_loop.predictions)
        for file, probability in zip(self.datamodule.predict_files(), probabilities, strict=True):
            best = int(probability.argmax())
            print(f"{file}: {self.model.class_names[best]} {probability[best]:.1%}")


def check_flags(args: Sequence[str]) -> None:
    """Check that `python -m lightning_cifar ARGS…` would accept the flags.

    Raises:
        UserError: it would not.
    """
    with contextlib.suppress(Checked):
        CLI(split_seeds(args)[1], check_only=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own.

    Returns:
        The exit code: 0, 1 for what a user can put right, 130 after Ctrl-C, 143 after SIGTERM (0 in the processes that
        Lightning has started beside the first).
    """
    raise_when_signalled()
    try:
        with quiet_warnings():
            seeds, args = split_seeds(sys.argv[1:] if args is None else args)
            runs = []
            for seed in seeds:
                runs.append(CLI([*args, f"--seed_everything={seed}"], prefix=f"seed{seed}").results)
                gc.collect()  # trainer and data refer to each other: the images would stay in the GPU's memory
            if runs:
                report_runs(runs, Path(runs[0]["folder"]).with_name(f"seeds_{'_'.join(map(str, seeds))}.png"))
            else:
                CLI(args)
    except Interrupted as interrupted:
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # an attribute of a function
            print_last(f"{interrupted}; {interrupted.remedy}")
        elif "RANK" not in os.environ:  # a process that Lightning started: by another code than 0 it would have the
            return 0  # first process killed, which may still be sending metrics
        return interrupted.exit_code
    except UserError as error:
        return report(error)
    except (OSError, MisconfigurationException, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            remedy = "free some space, or name another place with --trainer.default_root_dir or --data.data_dir"
            return report(error, f"cannot write {error.filename or 'to the disk'}: {error.strerror}; {remedy}")
        if raised_by_library(error):
            return report(error, f"{one_line(error)}; {HELP}")
        raise
    return 0
