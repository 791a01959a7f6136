"""What a training does to a GPU, seen without one: PyTorch's fake tensors have shape and device, and no content.

An operation on tensors of two devices fails, as it would on a GPU; and whatever makes the program wait until the GPU
has caught up is noted. Only the backward pass is left out: autograd needs the driver.
"""

from collections import Counter

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import resnet18

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule, Net
from lightning_cifar.callbacks.lookahead import Lookahead
from lightning_cifar.callbacks.progress import ProgressBar
from lightning_cifar.callbacks.whitening import Whitening
from lightning_cifar.nets import AirbenchNet
from lightning_cifar.tiny_steps import Threads

GPU = torch.device("cuda", 0)
BATCH_SIZE = 5
PICTURE = 3 * 32 * 32


class Accelerator(CPUAccelerator):
    """Sets no device up."""

    def setup_device(self, device):
        pass


class OnGPU(SingleDeviceStrategy):
    """Trains on the GPU that is not there."""

    def __init__(self):
        super().__init__(GPU, Accelerator())

    def teardown(self):
        pass


class Watch(TorchDispatchMode):
    """Counts what waits for the GPU, by operation, and what is copied to it, in elements."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.copied = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operation.overloadpacket.__name__
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name == "_local_scalar_dense":
            self.waits["reading a number"] += first.device == GPU
            return False if first.dtype == torch.bool else 1  # fake tensors hold none
        if name == "bincount":  # its length hangs on what fake tensors do not hold
            self.waits["counting"] += 1
            return first.new_zeros(args[-1])
        if name == "_to_copy" and first.device != kwargs.get("device", first.device):
            if not kwargs.get("non_blocking"):
                self.waits["a copy"] += 1
            if kwargs["device"] == GPU:
                self.copied.append(first.numel())
        if name == "copy_" and first.device != args[1].device:
            self.waits["a copy"] += 1
        return operation(*args, **kwargs)


@pytest.fixture(autouse=True)
def replaced_parameters():
    """Let `Module.to` put new parameters in: real ones cannot become fake ones in their place."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.fixture
def on_gpu(images, tmp_path):
    """Run a function of the Trainer, for some epochs of some steps; give what was seen of the GPU."""

    def run(function, net=Net, epochs=1, steps=4, loss_window=4, callbacks=(), **data):
        model = CIFAR10Classifier(net(num_classes=3), ["a", "b", "c"], loss_window=loss_window)
        module = CIFAR10DataModule(str(images), batch_size=BATCH_SIZE, val_size=12, **data)
        module.prepare_data()

        def backward(loss):
            assert loss.device == GPU
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)

        model.backward = backward
        model.log_dict = lambda *_, **__: None  # Lightning's copies what it is given, which fake tensors do not bear
        # not the fused kernel, which fake tensors do not know
        model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        trainer = Trainer(
            default_root_dir=tmp_path,
            max_epochs=epochs,
            limit_train_batches=steps,
            strategy=OnGPU(),
            enable_checkpointing=False,
            inference_mode=False,  # in which PyTorch would not tell of some copies
            logger=False,
            enable_model_summary=False,
            callbacks=[ProgressBar(), Threads(), *callbacks],
        )
        with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch:
            getattr(trainer, function)(model, module)
        return watch

    return run


@pytest.mark.filterwarnings("ignore")
class TestOnAGPU:
    def test_no_step_waits_for_it(self, on_gpu):
        few = on_gpu("fit", steps=4, loss_window=4, augment="crop_flip").waits
        many = on_gpu("fit", steps=16, loss_window=16, augment="crop_flip").waits
        assert many == few

    def test_no_step_of_airbench_waits_for_it(self, on_gpu, monkeypatch):
        def waits(steps):
            other = CIFAR10Classifier(AirbenchNet(num_classes=3), ["a", "b", "c"])
            monkeypatch.setattr("torch.optim.swa_utils.deepcopy", lambda _: other)  # fake tensors cannot be copied
            callbacks = [Whitening(images=10), Lookahead(every=2)]
            flips = {"augment": "alternating_flip", "padding": 2, "padding_mode": "reflect", "normalize": True}
            return on_gpu("fit", AirbenchNet, steps=steps, loss_window=16, callbacks=callbacks, **flips).waits

        assert waits(16) == waits(8)

    def test_a_window_of_loss_waits_once(self, on_gpu):
        one, four = (on_gpu("fit", steps=16, loss_window=length).waits for length in (16, 4))
        assert four - one == {"reading a number": 3 * 2}  # each time the sum and the count

    def test_the_images_go_there_once(self, on_gpu):
        once, again = (on_gpu("fit", epochs=epochs, augment="crop_flip") for epochs in (1, 3))
        assert max(once.copied) == 3 * 40 * PICTURE, "the whole set at once"
        assert [size for size in again.copied if size >= PICTURE] == [size for size in once.copied if size >= PICTURE]

    @pytest.mark.parametrize("function", ["fit", "validate", "test"])
    def test_all_is_computed_there(self, on_gpu, function):
        on_gpu(function, net=resnet18)
