"""The tutorial's network, exactly; and any other is left alone by the check before the first step."""

import torch
from torch import nn
from torch.nn import functional as F

from lightning_cifar import Net
from lightning_cifar.net_check import check_net


class TutorialNet(nn.Module):
    """As printed in the tutorial, for comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def test_loads_the_tutorials_weights_and_computes_the_same():
    theirs, ours = TutorialNet(), Net()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(5, 3, 32, 32)
    assert torch.equal(ours(images), theirs(images))


def test_trying_a_network_leaves_it_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3072, 3))
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check_net(net, 3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net[0].training and not net[2].training
