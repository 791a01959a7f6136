"""The network of Azure ML's and PyTorch's tutorials."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """The tutorial's small CNN: two convolutions, three linear layers; 62,006 parameters with 10 classes.

    Its submodules bear the tutorial's names, so that a `state_dict` of the tutorial's `Net` loads.
    Source: https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html

    Args:
        num_classes: the number of outputs, at least 1.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, num_classes)."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
