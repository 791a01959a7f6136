"""Lookahead and whitening: what they make of a network."""

import copy

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from lightning_cifar import CIFAR10Classifier, CIFAR10DataModule
from lightning_cifar.callbacks.lookahead import Lookahead
from lightning_cifar.callbacks.whitening import Whitening, whitening_filters
from lightning_cifar.errors import UserError
from lightning_cifar.nets import AirbenchNet

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def small_net() -> AirbenchNet:
    torch.manual_seed(0)
    return AirbenchNet(3, (24, 24, 24))


def train(net, images, *callbacks, accumulate=1, epochs=2, precision="32-true") -> CIFAR10Classifier:
    module = CIFAR10Classifier(net, ["blue", "green", "red"])
    data = CIFAR10DataModule(str(images), batch_size=12, val_size=12)
    how = {"accumulate_grad_batches": accumulate, "precision": precision}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **how, **QUIET)
    trainer.fit(module, datamodule=data)
    return module


class Reference(Lookahead):
    """Lookahead as its authors wrote it, on a copy of the network, beside a training that it follows step by step."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        done = trainer.global_step
        if done == 0 or done == getattr(self, "done", 0):
            return
        self.done = done
        net = pl_module.net
        if done == 1:
            self.average = None
        if done % 5 == 0:
            state = [each for each in net.state_dict().values() if each.is_floating_point()]
            if self.average is None:
                self.average = copy.deepcopy(state)
            decay = 0.95**5 * (done / self.total) ** 3
            for slow, fast in zip(self.average, state, strict=True):
                slow.copy_(decay * slow + (1 - decay) * fast)
                fast.copy_(slow)

    def on_train_end(self, trainer, pl_module):
        state = [each for each in pl_module.net.state_dict().values() if each.is_floating_point()]
        for slow, fast in zip(self.average, state, strict=True):
            fast.copy_(slow)


@pytest.mark.parametrize(
    ("accumulate", "steps", "precision"),
    [(1, 18, "32-true"), (2, 20, "32-true"), (1, 18, "bf16-mixed")],  # of 9 batches an epoch
)
def test_goes_back_to_the_average_of_all_floating_state_every_five_optimizer_steps(
    images, accumulate, steps, precision
):
    reference = Reference()
    reference.total = steps
    ours, theirs, without = (
        [each for each in trained.net.state_dict().values() if each.is_floating_point()]
        for trained in (
            train(small_net(), images, *callbacks, accumulate=accumulate, epochs=2 * accumulate, precision=precision)
            for callbacks in ([Lookahead()], [reference], [])
        )
    )
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(without[-1], theirs[-1])


def test_whitened_patches_are_uncorrelated():
    images = torch.randn(50, 3, 32, 32, generator=torch.Generator().manual_seed(0)).cumsum(-1).mul(0.1)
    filters = whitening_filters(images, 2, eps=0.0)
    assert filters.shape == (24, 3, 2, 2) and torch.equal(filters[:12], -filters[12:])
    answers = nn.functional.conv2d(images, filters[:12]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers @ answers.T / answers.shape[1], torch.eye(12), atol=1e-3, rtol=0)


def test_whitening_sets_the_first_layer_and_trains_its_bias_for_some_epochs(images):
    net = small_net()
    before = net.whiten.weight.clone()
    trained = train(net, images, Whitening(bias_epochs=1), epochs=1)
    assert not torch.equal(net.whiten.weight, before)
    after_one = net.whiten.bias.clone()
    assert after_one.abs().sum() > 0
    again = small_net()
    train(again, images, Whitening(bias_epochs=1), epochs=2)
    torch.testing.assert_close(again.whiten.bias, after_one)
    assert not torch.equal(again.head.weight, trained.net.head.weight)


def test_whitening_says_which_networks_it_can_do(images):
    with pytest.raises(UserError, match=r"Whitening needs a network whose attribute whiten .* and Linear has none"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))[1], images, Whitening())
