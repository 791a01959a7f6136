"""A user's own network is tried before the first step."""

import pytest
import torch
from torch import nn

from lightning_cifar import Net
from lightning_cifar.errors import UserError
from lightning_cifar.net_check import check_net


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1)


class Wrapped(nn.Linear):
    def forward(self, x):
        return {"logits": super().forward(x.flatten(1))}


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (Wrapped(3072, 3), r"Wrapped gives dict in training instead of a tensor of logits \(N, classes\)"),
        (Flat(), r"Flat maps 2 images to \(2, 3072\), but the data has 3 classes"),
        (Net(4), r"Net maps 2 images to \(2, 4\), but the data has 3 classes, so \(2, 3\) is needed"),
        (nn.Linear(7, 3), "cannot take images"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(net, says):
    with pytest.raises(UserError, match=says):
        check_net(net, 3)


def test_trying_a_network_leaves_it_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3072, 3))
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check_net(net, 3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net[0].training and not net[2].training
