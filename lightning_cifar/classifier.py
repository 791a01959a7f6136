"""The LightningModule: any network that maps images to classes, trained with cross-entropy."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from lightning_cifar.callbacks.loss_window import LossWindow, window_length
from lightning_cifar.data.cifar10 import CLASS_NAMES
from lightning_cifar.errors import UserError
from lightning_cifar.loader import Batch
from lightning_cifar.net import Net, check_net


class CIFAR10Classifier(LightningModule):
    """Trains and tests a network that maps images (N, 3, 32, 32) to logits (N, classes).

    Logs `loss`, the mean over a window of batches as in the tutorial, with `lr`; `val_loss`, `val_acc`, `test_loss`,
    `test_acc`; and at test `test_acc/<class>`. Its checkpoints name network and classes.

    Args:
        net: the network; by default the tutorial's `Net` with an output for each class.
        class_names: in label order; by default CIFAR-10's.
        loss_window: batches in a window of `loss`, at least 1; by default as many as hold 8,000 images, but at most a
            fifth of an epoch, or the Trainer's `log_every_n_steps` where that is not Lightning's default of 50.

    Raises:
        UserError: `loss_window` is below 1, or the network has no parameters.
    """

    def __init__(
        self,
        net: nn.Module | None = None,
        class_names: Sequence[str] | None = None,
        loss_window: int | None = None,
    ) -> None:
        super().__init__()
        if loss_window is not None and loss_window < 1:
            raise UserError(f"model.loss_window is {loss_window}; give a number of batches, 1 or more")
        self.save_hyperparameters(ignore=["net"])
        if "_instantiator" in self.hparams:  # built by LightningCLI: here `net` is its settings, not the module
            self.save_hyperparameters()
        self.class_names = list(class_names or CLASS_NAMES)
        classes = len(self.class_names)
        self.net = (net or Net(classes)).to(memory_format=torch.channels_last)
        if not list(self.net.parameters()):
            raise UserError(
                f"{type(self.net).__name__} has no parameters, so there is nothing to train; make its layers "
                "attributes of it in __init__"
            )
        # Not by `self.log` alone: of processes with unequal shares, Lightning takes the images for equally many.
        # A NaN stays one; "disable" would say so too, but forgets the weights (torchmetrics 1.9).
        self.val_loss, self.test_loss = (MeanMetric(nan_strategy=float("nan")) for _ in range(2))
        self.val_acc = MulticlassAccuracy(classes, average="micro")
        self.test_acc = MulticlassAccuracy(classes, average="micro")
        self.test_class_acc = MulticlassAccuracy(classes, average="none")
        self.test_confusion = MulticlassConfusionMatrix(classes)
        self.confusion_matrix: Tensor | None = None
        """Of the last test, (true class, predicted class), counts."""
        self.loss_history: list[tuple[int, float]] = []
        """(step, `loss`) of each window so far."""
        self.val_history: list[tuple[int, float]] = []
        """(step, `val_loss`) of each validation so far."""
        self.first_batch: int | None = None
        """The batch with which this training began: more than 0 where it was resumed; None where it has not."""
        self._loss_window = LossWindow()
        self._window_length = loss_window
        self._rng_state: Tensor | None = None
        self._optimizer_of_checkpoint: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook's name here 44 times a step; `nn.Module` would look through parameters,
        # buffers and submodules each time, which at batch 4 is a twentieth of the step.
        if (value is None or type(value) is str) and name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32), floats in [-1, 1], to logits (N, classes)."""
        return self.net(images)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use the tutorial's SGD; the command line replaces it by what `--optimizer` says."""
        return torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.9)

    def on_fit_start(self) -> None:
        """Try the network on one small batch, before the first step; and see whether the optimizer can go on.

        Raises:
            UserError: the network gives something else than logits, or the checkpoint is another optimizer's.
        """
        check_net(self.net, len(self.class_names), self.device)
        before, now = self._optimizer_of_checkpoint, self._optimizer_name()
        if before not in (None, now):
            raise UserError(
                f"the checkpoint was saved by a training with {before}, and its state is of no use to {now}; "
                f"add --optimizer {before}"
            )

    def _optimizer_name(self) -> str | None:
        return next((type(optimizer).__name__ for optimizer in self.trainer.optimizers), None)

    def on_train_start(self) -> None:
        """Settle the length of a window of `loss`, and where the training begins."""
        trainer = self.trainer
        self.first_batch = trainer.fit_loop.total_batch_idx + 1
        if self._rng_state is not None and trainer.world_size == 1:
            torch.set_rng_state(self._rng_state.cpu())
        self._rng_state = None
        wanted = self.hparams["loss_window"]
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set where mypy does not look
        if wanted is None and every not in (0, 50):
            wanted = every
        if wanted is None:
            batch_size = (getattr(trainer.train_dataloader, "batch_size", None) or 1) * trainer.world_size
            wanted = window_length(batch_size, trainer.num_training_batches)
        self._window_length = wanted
        parameters = sum(parameter.numel() for parameter in self.net.parameters())
        self._say(f"{type(self.net).__name__}: {parameters:,} parameters, {len(self.class_names)} classes")

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = self.net(images)
        if not isinstance(logits, Tensor):  # some networks do so only in training, so `check_net` cannot see it
            raise UserError(
                f"{type(self.net).__name__} gives {type(logits).__name__} in training instead of a tensor of logits "
                "(N, classes); turn its further outputs off, for GoogLeNet with --model.net.aux_logits false"
            )
        # not in half precision, in which `--trainer.precision bf16-true` has the logits
        loss = F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)
        return loss, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch, and report `loss` where a window ends."""
        loss, _ = self._step(batch)
        window = self._loss_window
        window.add(loss)
        if window.count == self._window_length or self.trainer.is_last_batch:
            self._report_window(self.trainer.global_step, batch_idx)
        return loss

    # Lightning asks for it at each step, and Python would work it out anew: a hundredth of a step at batch 4.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def on_validation_start(self) -> None:
        """Keep the sum of `val_loss` exact."""
        self._keep_exact(self.val_loss)

    def on_test_start(self) -> None:
        """Keep the sum of `test_loss` exact."""
        self._keep_exact(self.test_loss)

    def _keep_exact(self, metric: MeanMetric) -> None:
        # `bf16-true` has made bfloat16 of its sums as of the weights: they would stand still after some batches
        metric.set_dtype(torch.promote_types(self.dtype, torch.float32))  # type: ignore[arg-type]  # never a string

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to `val_loss` and `val_acc`."""
        loss, logits = self._step(batch)
        self.val_loss.update(loss, len(batch[1]))
        self.val_acc.update(logits, batch[1])
        self.log("val_loss", self.val_loss, on_epoch=True, prog_bar=True)
        self.log("val_acc", self.val_acc, on_epoch=True, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to `test_loss`, `test_acc`, the accuracy of each class and the confusion matrix."""
        loss, logits = self._step(batch)
        for metric in (self.test_acc, self.test_class_acc, self.test_confusion):
            metric.update(logits, batch[1])
        self.test_loss.update(loss, len(batch[1]))
        self.log("test_loss", self.test_loss, on_epoch=True)
        self.log("test_acc", self.test_acc, on_epoch=True)

    def predict_step(self, batch: Tensor | Batch, batch_idx: int) -> Tensor:
        """Give the probability of each class, (N, classes)."""
        return self.net(batch if isinstance(batch, Tensor) else batch[0]).softmax(dim=1)

    def on_train_epoch_end(self) -> None:
        """Report what is left of a window where an epoch ended before its last batch (`max_steps`)."""
        if self._loss_window.count:
            self._report_window(self.trainer.global_step - 1, self.trainer.fit_loop.batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Keep `val_loss` for the curve."""
        trainer = self.trainer
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.val_history.append((trainer.global_step - 1, float(trainer.callback_metrics["val_loss"])))

    def on_test_epoch_end(self) -> None:
        """Log the accuracy of each class and keep the confusion matrix."""
        accuracies = self.test_class_acc.compute().tolist()
        named = {f"test_acc/{name}": acc for name, acc in zip(self.class_names, accuracies, strict=True)}
        self.log_dict(named, sync_dist=True)  # already the same in each process; so that Lightning does not warn
        self.confusion_matrix = self.test_confusion.compute().cpu()
        self.test_class_acc.reset()
        self.test_confusion.reset()

    def _report_window(self, step: int, batch_idx: int) -> None:
        # Not by `self.log`: Lightning forwards that only where the run-wide step is a multiple of
        # `log_every_n_steps`, and windows start anew with each epoch.
        trainer = self.trainer
        total, count = trainer.strategy.reduce(self._loss_window.state(self.device), reduce_op="sum").tolist()
        self._loss_window.reset()
        loss = total / count
        if not math.isfinite(loss) and all(math.isfinite(before) for _, before in self.loss_history):
            rank_zero_warn(
                f"the loss is {loss} by step {step}, so the training has failed: try a lower learning rate "
                "(--optimizer.lr)"
            )
        self.loss_history.append((step, loss))
        metrics = {"loss": loss, "lr": trainer.optimizers[0].param_groups[0]["lr"]}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)
        self._say(f"epoch={trainer.current_epoch + 1}, batch={batch_idx + 1:5}: loss {loss:.2f}")

    @rank_zero_only
    def _say(self, line: str) -> None:
        bar = self.trainer.progress_bar_callback
        (print if bar is None else bar.print)(line)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the begun window and the curves with the weights."""
        state = self.trainer.strategy.reduce(self._loss_window.state(self.device), reduce_op="sum")
        checkpoint["loss_window"] = self._loss_window.state_dict(state)
        checkpoint["loss_history"] = self.loss_history
        checkpoint["val_history"] = self.val_history
        checkpoint["rng_state"] = torch.get_rng_state()  # dropout draws from it
        checkpoint["optimizer"] = self._optimizer_name()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up window and curves, unless it is only to be tested: the curves of the training go on to its end.

        Raises:
            UserError: the checkpoint holds another network.
        """
        self._check_same_net(checkpoint.get("state_dict", {}))
        processes = self._trainer.world_size if self._trainer else 1
        goes_on = self._trainer is None or self._trainer.state.fn == TrainerFn.FITTING
        if goes_on and "loss_window" in checkpoint:
            self._loss_window.load_state_dict(checkpoint["loss_window"], processes, self.device)
            self.loss_history = [tuple(point) for point in checkpoint["loss_history"]]
            self.val_history = [tuple(point) for point in checkpoint["val_history"]]
            self._rng_state = checkpoint.get("rng_state")
            self._optimizer_of_checkpoint = checkpoint.get("optimizer")

    def _check_same_net(self, theirs: dict[str, Tensor]) -> None:
        mine = self.state_dict()
        for name in [*mine, *theirs]:
            shapes = [tuple(state[name].shape) if name in state else "nothing" for state in (theirs, mine)]
            if shapes[0] != shapes[1]:
                raise UserError(
                    f"the checkpoint holds another network than {type(self.net).__name__}: {name} is {shapes[0]} "
                    f"in the checkpoint and {shapes[1]} in the network; name the network it was trained with"
                )
