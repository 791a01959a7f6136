"""Test-time augmentation: the mean over views of each image."""

import pytest
import torch
from torch import nn

from lightning_cifar import CIFAR10Classifier
from lightning_cifar.tta import mean_logits


class Corner(nn.Module):
    """Answers with the pixel in the upper left corner."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0]


IMAGE = torch.arange(9.0).reshape(1, 1, 3, 3)  # the corners are 0, 2, 6 and 8


@pytest.mark.parametrize(
    ("tta", "expected"),
    [
        ("none", 0.0),
        ("mirror", (0 + 2) / 2),
        # shifted by (1, 1), the pixel reflected at the corner is 4, mirrored it is that beside 2: 1 or 4, and so on
        ("mirror_shift", (0 + 2) / 4 + (4 + 4 + 4 + 4) / 8),
    ],
)
def test_views_are_weighed(tta, expected):
    assert mean_logits(Corner(), IMAGE, tta).item() == pytest.approx(expected)


class Left(nn.Module):
    """Knows images that are brighter on the left, and no others."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        left = images[..., :16].mean(dim=(1, 2, 3)) - images[..., 16:].mean(dim=(1, 2, 3))
        return torch.stack([left, -left], dim=1) * self.scale


def test_predictions_use_the_views_and_training_does_not():
    images = torch.rand(6, 3, 32, 32)
    plain, mirrored = (CIFAR10Classifier(Left(), ["a", "b"], tta=tta) for tta in ("none", "mirror"))
    assert not torch.allclose(plain.predict_step(images, 0), torch.full((6, 2), 0.5))
    torch.testing.assert_close(mirrored.predict_step(images, 0), torch.full((6, 2), 0.5))
    batch = images, torch.zeros(6, dtype=torch.int64)
    assert torch.equal(plain.training_step(batch, 0), mirrored.training_step(batch, 0))


def test_label_smoothing_is_for_training(images, main):
    flags = (
        "--data.source",
        images,
        "--trainer.max_epochs",
        1,
        "--data.batch_size",
        40,
        "--model.label_smoothing",
        0.9,
    )
    assert main("fit", *flags) == 0, main.err
    smooth = CIFAR10Classifier(Left(), ["a", "b"], label_smoothing=0.2)
    batch = torch.rand(6, 3, 32, 32), torch.zeros(6, dtype=torch.int64)
    expected = nn.functional.cross_entropy(smooth.net(batch[0]), batch[1], label_smoothing=0.2)
    torch.testing.assert_close(smooth.training_step(batch, 0), expected)
