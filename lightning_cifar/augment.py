"""Augment whole batches: torchvision's transforms would move all images of a batch alike."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["none", "crop_flip", "alternating_flip"]
Mode = Literal["zero", "reflect"]


@dataclass(frozen=True)
class Augment:
    """Shifts and mirrors the images of a batch, each in its own way.

    Args:
        kind: `crop_flip` mirrors every other image at random (He et al. 2015, https://arxiv.org/abs/1512.03385,
            section 4.2); `alternating_flip` mirrors a random half of the images in even epochs, and the other half in
            odd ones (https://arxiv.org/abs/2404.00498, section 3.3); `none` leaves all as they are.
        padding: pixels by which an image may be shifted in each direction, 0 or more.
        mode: what moves in: zeros, or the image reflected at its edge.
    """

    kind: Kind = "none"
    padding: int = 4
    mode: Mode = "zero"

    def __call__(self, images: Tensor, flips: Tensor, generator: torch.Generator) -> Tensor:
        """Return shifted and mirrored images of the same shape, type and device.

        Args:
            images: (batch, 3, height, width), on any device.
            flips: bool (batch,), on the CPU: the images that `alternating_flip` mirrors.
            generator: on the CPU, so that every device draws the same.
        """
        count, _, height, width = images.shape
        device = images.device
        drawn = torch.rand((count, 1), generator=generator) < 0.5
        flip = flips[:, None] if self.kind == "alternating_flip" else drawn
        shifts = torch.randint(-self.padding, self.padding + 1, (2, count, 1), generator=generator)
        # CUDA takes them in its turn: waiting for that would leave the GPU idle between steps. On MPS, a copy that is
        # not waited for may come out wrong: https://github.com/pytorch/pytorch/issues/189690
        shifts, flip = (each.to(device, non_blocking=images.is_cuda) for each in (shifts, flip))
        row, column = torch.arange(height, device=device), torch.arange(width, device=device)
        rows, columns = shifts[0] + row, shifts[1] + torch.where(flip, width - 1 - column, column)
        if self.mode == "reflect":
            rows, columns = (last - (last - at.abs()).abs() for at, last in ((rows, height - 1), (columns, width - 1)))
        else:
            images = F.pad(images, [self.padding] * 4)
            rows, columns = rows + self.padding, columns + self.padding
        image = torch.arange(count, device=device)[:, None, None]
        return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
