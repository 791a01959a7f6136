"""The LightningModule: any network that maps images to classes, trained with cross-entropy."""

from collections.abc import Sequence

import torch
from pytorch_lightning import Callback, LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from lightning_cifar.callbacks.loss_window import LossWindow
from lightning_cifar.callbacks.progress import print_above_bar
from lightning_cifar.callbacks.resume_state import ResumeState
from lightning_cifar.data.cifar10 import CLASS_NAMES
from lightning_cifar.errors import UserError
from lightning_cifar.loader import Batch
from lightning_cifar.memory import keep_memory
from lightning_cifar.net_check import check_net
from lightning_cifar.nets import Net
from lightning_cifar.optimizers import print_optimizer
from lightning_cifar.tiny_steps import QuickAttributes, quick_signature
from lightning_cifar.tta import TTA, mean_logits


class CIFAR10Classifier(QuickAttributes, LightningModule):
    """Trains and tests a network that maps images (N, 3, 32, 32) to logits (N, classes): `CIFAR10Classifier(MyNet())`.

    Logs `loss`, the mean over a window of batches as in the tutorial, with `lr`; `val_loss`, `val_acc`, `test_loss`,
    `test_acc`; and at test `test_acc/<class>`. Its checkpoints name network and classes.

    Args:
        net: the network, your own for instance; by default the tutorial's `Net` with an output for each class.
        class_names: in label order; by default CIFAR-10's.
        loss_window: batches in a window of `loss`, at least 1; by default as `LossWindow` has it.
        label_smoothing: share of a label that is spread over all classes in training, 0 to 1.
        tta: views of an image that `test`, `predict` and a `validate` of its own average over; see `mean_logits`.

    Raises:
        UserError: `loss_window` is below 1, or the network has no parameters.
    """

    def __init__(
        self,
        net: nn.Module | None = None,
        class_names: Sequence[str] | None = None,
        loss_window: int | None = None,
        label_smoothing: float = 0.0,
        tta: TTA = "none",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["net"])
        if "_instantiator" in self.hparams:  # built by LightningCLI: here `net` is its settings, not the module
            self.save_hyperparameters()
        self.label_smoothing, self.tta = label_smoothing, tta
        self.class_names = list(class_names or CLASS_NAMES)
        classes = len(self.class_names)
        self.net = (net or Net(classes)).to(memory_format=torch.channels_last)
        if not list(self.net.parameters()):
            name = type(self.net).__name__
            raise UserError(f"{name} has no parameters to train; make its layers attributes of it in __init__")
        # Means by metrics that weigh batches by their images; `self.log` alone takes the shares of several processes
        # for equal. A NaN stays one; "disable" would keep it too, but forgets the weights (torchmetrics 1.9).
        self.val_loss, self.test_loss = (MeanMetric(nan_strategy=float("nan")) for _ in range(2))
        self.val_acc, self.test_acc = (MulticlassAccuracy(classes, average="micro") for _ in range(2))
        self.test_class_acc = MulticlassAccuracy(classes, average="none")
        self.test_confusion = MulticlassConfusionMatrix(classes)
        self.confusion_matrix: Tensor | None = None
        """Of the last test, (true class, predicted class), counts."""
        self.first_batch: int | None = None
        """The batch with which this training began: more than 0 where it was resumed; None where it has not."""
        window = LossWindow(loss_window)
        self.loss_history, self.val_history = window.loss_history, window.val_history
        """(step, `loss`) of each window, and (step, `val_loss`) of each validation so far."""
        self.resume_state = ResumeState()
        self._own_callbacks = [window, self.resume_state]
        self.optimizer_origin: str | None = None
        """Where the optimizer comes from, if not from this module's `configure_optimizers`."""

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that each training of this module has: windows of `loss`, and what a resume needs."""
        return [callback for callback in self._own_callbacks if callback not in self.trainer.callbacks]  # type: ignore[attr-defined]  # set where mypy does not look

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the tutorial's SGD; the command line replaces it by what `--optimizer` names."""
        return torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.9)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32), floats in [-1, 1], to logits (N, classes)."""
        return mean_logits(self.net, images, self.tta)

    def _loss(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        if not isinstance(logits, Tensor):  # as torchvision's GoogLeNet, in training alone
            what = f"{type(self.net).__name__} gives {type(logits).__name__} in training instead of a tensor of logits"
            raise UserError(f"{what}; turn its further outputs off, for GoogLeNet with --model.net.aux_logits false")
        # not in half precision, in which `--trainer.precision bf16-true` has the logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    @quick_signature
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; `LossWindow` logs it."""
        return self._loss(self.net(batch[0]), batch[1], self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to `val_loss` and `val_acc`."""
        self._evaluate(batch, "val", self.val_loss, self.val_acc)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to `test_loss`, `test_acc`, the accuracy of each class and the confusion matrix."""
        logits = self._evaluate(batch, "test", self.test_loss, self.test_acc)
        self.test_class_acc.update(logits, batch[1])
        self.test_confusion.update(logits, batch[1])

    def predict_step(self, batch: Tensor | Batch, batch_idx: int) -> Tensor:
        """Return the probability of each class, (N, classes)."""
        return self(batch if isinstance(batch, Tensor) else batch[0]).softmax(dim=1)

    def _evaluate(self, batch: Batch, stage: str, mean_loss: MeanMetric, accuracy: MulticlassAccuracy) -> Tensor:
        logits = (self.net if self.trainer.state.fn == "fit" else self)(batch[0])
        mean_loss.update(self._loss(logits, batch[1]), len(batch[1]))
        accuracy.update(logits, batch[1])
        self.log(f"{stage}_loss", mean_loss, on_epoch=True, prog_bar=stage == "val")
        self.log(f"{stage}_acc", accuracy, on_epoch=True, prog_bar=stage == "val")
        return logits

    def setup(self, stage: str) -> None:
        """Make large batches on the CPU quicker."""
        keep_memory()

    def on_fit_start(self) -> None:
        """Try the network on one small batch, before the first step.

        Raises:
            UserError: it does not return logits.
        """
        check_net(self.net, len(self.class_names))

    def on_train_start(self) -> None:
        """Print what is trained, and by which optimizer."""
        print_optimizer(self.trainer, self, self.optimizer_origin)
        self.first_batch = self.trainer.fit_loop.total_batch_idx + 1
        name, parameters = type(self.net).__name__, sum(parameter.numel() for parameter in self.net.parameters())
        print_above_bar(self.trainer, f"{name}: {parameters:,} parameters, {len(self.class_names)} classes")

    def on_validation_start(self) -> None:
        """Sum losses in float32 at least: `bf16-true` has made bfloat16 of the sums, which would stand still."""
        for metric in (self.val_loss, self.test_loss):
            metric.set_dtype(torch.promote_types(self.dtype, torch.float32))  # type: ignore[arg-type]  # no string

    on_test_start = on_validation_start

    def on_test_epoch_end(self) -> None:
        """Log the accuracy of each class and keep the confusion matrix."""
        accuracies = self.test_class_acc.compute().tolist()
        named = {f"test_acc/{name}": acc for name, acc in zip(self.class_names, accuracies, strict=True)}
        self.log_dict(named, sync_dist=True)  # already the same in each process; so that Lightning does not warn
        self.confusion_matrix = self.test_confusion.compute().cpu()
        self.test_class_acc.reset()
        self.test_confusion.reset()
