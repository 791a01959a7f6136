"""What makes a step quick changes no result, and gives way where a user asks for something else."""

from contextlib import nullcontext

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.transforms import v2

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule, Net
from lightning_cifar.tiny_steps import NoProfiler, QuickAttributes, Threads, threads_for

QUICK = (
    *("--data.val_size", 12, "--trainer.max_epochs", 2, "--trainer.enable_progress_bar=false"),
    *("--trainer.limit_test_batches", 0),  # spares the drawing of what a test shows
)


@pytest.fixture
def two_threads(monkeypatch):
    """PyTorch on two threads, as the machine has it, whatever the tests around have set."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def plain_loop(images, epochs: int, fused: bool) -> nn.Module:
    """The tutorial's loop on the batches of `fit`: each image transformed by itself, no Lightning."""
    data = CIFAR10DataModule(str(images), val_size=12)
    data.prepare_data()
    data.setup()
    loader = data.train_dataloader()
    transform = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
    torch.manual_seed(0)
    net = Net(3).to(memory_format=torch.channels_last)  # with another format sums are taken in another order
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, fused=fused)
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch, labels in loader:
            pixels = ((batch + 1) * 127.5).round().to(torch.uint8)
            pictures = torch.stack([transform(picture) for picture in pixels])
            optimizer.zero_grad()
            F.cross_entropy(net(pictures.contiguous(memory_format=torch.channels_last)), labels).backward()
            optimizer.step()
    return net


def test_fit_ends_with_the_weights_of_the_plain_loop(two_threads, main, images, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert main("fit", "--data.source", images, *QUICK) == 0, main.err
    fused, plain = (plain_loop(images, 2, fused).state_dict() for fused in (True, False))
    (path,) = main.folder.glob("results/**/last.ckpt")
    trained = torch.load(path, weights_only=True)["state_dict"]
    torch.manual_seed(0)
    for name, untrained in Net(3).state_dict().items():
        assert torch.equal(trained[f"net.{name}"], fused[name]), name
        torch.testing.assert_close(trained[f"net.{name}"], plain[name], rtol=0, atol=1e-6)  # but for rounding
        assert not torch.allclose(untrained, fused[name], rtol=0, atol=1e-4), name


@pytest.mark.parametrize(
    ("net", "batch_size", "threads"),
    [(Net(), 4, 1), (Net(), 32, 2), (resnet18(num_classes=10), 4, 2)],
    ids=["Net, 4", "Net, 32", "ResNet-18, 4"],
)
def test_only_tiny_steps_get_one_thread(two_threads, net, batch_size, threads):
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert threads_for(net, batch_size) == threads
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_who_names_the_threads_keeps_them(two_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(Net(), 4) == 2


class Noting(Callback):
    """Notes the number of threads of each step; may end the training with an error, once it has begun."""

    def __init__(self, failing: bool):
        self.failing, self.threads = failing, set()

    def on_train_batch_end(self, *_):
        self.threads.add(torch.get_num_threads())
        if self.failing:
            raise ArithmeticError


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("failing", [False, True], ids=["to its end", "until an error"])
def test_what_follows_the_training_has_all_threads_again(two_threads, images, tmp_path, failing):
    data, model = CIFAR10DataModule(str(images), val_size=30), CIFAR10Classifier(class_names=["a", "b", "c"])
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    noting = Noting(failing)
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=2, callbacks=[Threads(), noting], **quiet)
    with pytest.raises(ArithmeticError) if failing else nullcontext():
        trainer.fit(model, data)
    assert noting.threads == {1} and torch.get_num_threads() == 2


def test_the_default_profiler_measures_nothing_and_gives_way_to_another(main, images, caplog):
    assert NoProfiler().profile("a") is NoProfiler().profile("b")
    with caplog.at_level("INFO", logger="pytorch_lightning.profilers.profiler"):
        assert main("fit", "--data.source", images, *QUICK, "--trainer.profiler", "simple") == 0, main.err
    assert "run_training_epoch" in caplog.text


def test_quick_attributes_are_kept_as_those_of_any_module():
    class Quick(QuickAttributes):
        def __init__(self):
            super().__init__()
            self.hook, self.layer, self.scale = None, nn.Linear(2, 2), nn.Parameter(torch.ones(1))

    quick = Quick()
    quick.hook = "on_train_start"
    assert quick.hook == "on_train_start" and "hook" in quick.__dict__
    assert [name for name, _ in quick.named_parameters()] == ["scale", "layer.weight", "layer.bias"]
    quick.layer = quick.scale = None
    assert quick.layer is None and not list(quick.parameters())
    quick.hook = nn.Linear(2, 2)
    assert [name for name, _ in quick.named_parameters()] == ["hook.weight", "hook.bias"]
