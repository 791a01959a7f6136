"""What becomes of a picture, before anything is sent."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_cifar.azure.media import save_image


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (torch.full((3, 2, 2), 0.5, dtype=torch.bfloat16), (128, 128, 128)),
        (torch.ones(2, 2, dtype=torch.bool), 255),
        (np.zeros((2, 2), bool), 0),
        (np.full((2, 2), 300), 255),
        (torch.full((2, 2), -5), 0),
        (torch.tensor([[float("nan"), 2.0], [0.0, 1.0]]), 0),
        (np.full((2, 2, 3), 7, np.uint8), (7, 7, 7)),
    ],
)
def test_every_kind_of_number_becomes_a_pixel(tmp_path, image, pixel):
    save_image(image, tmp_path / "i.png")
    assert Image.open(tmp_path / "i.png").getpixel((0, 0)) == pixel
