"""The usual augmentation of CIFAR-10: a random crop with padding, and a flip, drawn anew for each image."""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

PADDING = 4


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels in each direction (zeros move in), and mirror every other one.

    A whole batch at a time; `RandomCrop` of torchvision would move all images of a batch alike.
    Source: He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2.

    Args:
        images: (batch, 3, height, width), on any device.
        generator: on the CPU, so that every device draws the same.

    Returns:
        Images of the same shape and type.
    """
    count, _, height, width = images.shape
    device = images.device
    shifts = torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator)
    flip = torch.rand((count, 1), generator=generator) < 0.5
    # CUDA takes them in its turn: waiting for that would leave the GPU idle between steps. On MPS, a copy that is not
    # waited for may come out wrong: https://github.com/pytorch/pytorch/issues/189690
    shifts, flip = (drawn.to(device, non_blocking=images.is_cuda) for drawn in (shifts, flip))
    image = torch.arange(count, device=device)[:, None, None]
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    rows = (shifts[0] + row)[:, :, None]
    columns = (shifts[1] + torch.where(flip, width - 1 - column, column))[:, None, :]
    padded = F.pad(images, [PADDING]).permute(0, 2, 3, 1)
    return padded[image, rows, columns].permute(0, 3, 1, 2)
