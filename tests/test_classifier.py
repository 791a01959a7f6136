"""The LightningModule, without the command line: what it logs, when, and what its checkpoints carry."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers.logger import DummyLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_cifar import CIFAR10Classifier

CLASSES = ["a", "b", "c"]


class Record(DummyLogger):
    """Keeps (step, metrics) of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int | None, dict]] = []

    def log_metrics(self, metrics, step=None):
        self.calls.append((step, metrics))

    def of(self, name: str) -> list[tuple[int, float]]:
        return [(step, metrics[name]) for step, metrics in self.calls if name in metrics]


class Losses(CIFAR10Classifier):
    """Notes each batch's loss; halves the learning rate with each epoch."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.__dict__.setdefault("losses", []).append(float(loss))
        return loss


def batches(count: int, batch_size: int = 2) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count * batch_size, 3, 32, 32, generator=generator) * 2 - 1
    labels = torch.randint(0, 3, (len(images),), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size)


def trainer(folder: Path, **options) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(default_root_dir=folder, accelerator="cpu", **{"max_epochs": 2, **quiet, **options})


@pytest.mark.filterwarnings("ignore")
def test_loss_is_the_mean_of_each_window_which_starts_anew_with_every_epoch(tmp_path, capsys):
    record, model = Record(), Losses(class_names=CLASSES, loss_window=3)
    trainer(tmp_path, logger=record).fit(model, batches(8))
    ends = [(2, 0, 3), (5, 3, 6), (7, 6, 8), (10, 8, 11), (13, 11, 14), (15, 14, 16)]
    expected = [(step, sum(model.losses[a:b]) / (b - a)) for step, a, b in ends]
    assert [step for step, _ in record.of("loss")] == [step for step, _ in expected]
    assert [loss for _, loss in record.of("loss")] == pytest.approx([loss for _, loss in expected])
    assert record.of("lr") == [(step, 0.001 if step < 8 else 0.0005) for step, _ in expected]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch=")]
    assert lines[0] == f"epoch=1, batch=    3: loss {expected[0][1]:.2f}"
    assert lines[-1] == f"epoch=2, batch=    8: loss {expected[-1][1]:.2f}"
    assert len(lines) == len(expected)


def test_a_loss_that_is_no_number_is_warned_of_once(tmp_path):
    model = Losses(class_names=CLASSES, loss_window=4)
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=1e30)
    with pytest.warns(UserWarning) as caught:
        trainer(tmp_path, max_epochs=2).fit(model, batches(8))
    (says,) = [str(warning.message) for warning in caught if "training has failed" in str(warning.message)]
    assert says == "the loss is nan by step 3, so the training has failed: try a lower learning rate (--optimizer.lr)"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "ends", "validated"),
    [
        ({"max_epochs": None, "max_steps": 6}, [(3, 0, 4), (5, 4, 6)], []),
        ({"max_epochs": 1, "accumulate_grad_batches": 2}, [(1, 0, 4), (3, 4, 8)], [3]),
    ],
    ids=["the last window is not lost at max_steps", "accumulated gradients"],
)
def test_steps_of_windows_are_those_of_the_trainer(tmp_path, options, ends, validated):
    record, model = Record(), Losses(class_names=CLASSES, loss_window=4)
    trainer(tmp_path, logger=record, **options).fit(model, batches(8), batches(2))
    assert record.of("loss") == [(step, pytest.approx(sum(model.losses[a:b]) / (b - a))) for step, a, b in ends]
    assert [step for step, _ in record.of("val_loss")] == validated


@pytest.mark.filterwarnings("ignore")
def test_validation_and_test_report_loss_and_accuracy_over_all_images(tmp_path):
    record, model, data = Record(), CIFAR10Classifier(class_names=CLASSES), batches(5)
    one = trainer(tmp_path, logger=record, max_epochs=1)
    one.fit(model, batches(3), data)
    one.test(model, data, verbose=False)
    model.eval()
    images, labels = data.dataset.tensors
    with torch.no_grad():
        logits = model(images)
    loss, acc = float(nn.functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())
    assert record.of("val_loss") == [(2, pytest.approx(loss))] and record.of("val_acc") == [(2, pytest.approx(acc))]
    assert record.of("test_loss") == [(3, pytest.approx(loss))] and record.of("test_acc") == [(3, pytest.approx(acc))]
    assert model.confusion_matrix.sum() == len(labels)
    assert model.confusion_matrix.diag().sum() == round(acc * len(labels))
    for label, name in enumerate(CLASSES):
        per_class = model.confusion_matrix[label, label] / model.confusion_matrix[label].sum()
        assert record.of(f"test_acc/{name}") == [(3, pytest.approx(float(per_class)))]


@pytest.mark.filterwarnings("ignore")
def test_the_curves_go_on_to_the_end_though_an_earlier_checkpoint_is_tested(tmp_path):
    model, data = CIFAR10Classifier(class_names=CLASSES, loss_window=4), batches(8)
    one = trainer(tmp_path, logger=False, max_epochs=1)
    one.fit(model, data, batches(2))
    one.save_checkpoint(tmp_path / "best.ckpt")
    one.fit_loop.max_epochs = 3
    one.fit(model, data, batches(2))
    one.test(model, batches(2), ckpt_path=tmp_path / "best.ckpt", verbose=False)
    assert [step for step, _ in model.loss_history] == [3, 7, 11, 15, 19, 23]
    assert [step for step, _ in model.val_history] == [7, 15, 23]
