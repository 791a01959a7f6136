"""Whitening: the first layer's filters are set from the training images, before the first step."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_cifar.errors import UserError


def whitening_filters(images: Tensor, size: int, eps: float = 5e-4) -> Tensor:
    """Return filters that whiten patches, and their negatives.

    Eigenvectors of the patches' covariance (about 0, not about their mean) over the square root of their eigenvalues.
    Source: airbench94, https://arxiv.org/abs/2404.00498, section 3.1.

    Args:
        images: floats (N, 3, height, width).
        size: height and width of a patch, in pixels.
        eps: added to each eigenvalue.

    Returns:
        (2 * 3 * size², 3, size, size), those of the largest eigenvalues first.
    """
    patches = nn.functional.unfold(images, size).transpose(1, 2).flatten(0, 1).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + eps).sqrt()).T.flip(0).reshape(-1, images.shape[1], size, size)
    return torch.cat([filters, -filters]).to(images.dtype)


class Whitening(Callback):
    """Sets the weights of the network's first layer `whiten`, and trains its bias for a few epochs only.

    Args:
        images: training images to learn the filters from, at least 1.
        bias_epochs: epochs in which the layer's bias is trained.
    """

    def __init__(self, images: int = 5000, bias_epochs: int = 3) -> None:
        self._images, self._bias_epochs = images, bias_epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the filters, before other callbacks copy the network; a checkpoint's replace them later.

        Raises:
            UserError: the network has no layer `whiten` of the right shape.
        """
        if stage != "fit":
            return
        layer = getattr(pl_module.net, "whiten", None)
        if not isinstance(layer, nn.Conv2d) or layer.out_channels != 2 * layer.weight[0].numel():
            raise UserError(
                f"Whitening needs a network whose attribute whiten is a Conv2d with twice as many filters as a patch "
                f"has values, and {type(pl_module.net).__name__} has none: use AirbenchNet, or leave the callback out"
            )
        images = trainer.datamodule.training_images(self._images)  # type: ignore[attr-defined]  # set where mypy does not look
        with torch.no_grad():
            layer.weight.copy_(whitening_filters(images, layer.kernel_size[0]))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Keep the bias after its epochs: without a gradient, the optimizer passes it over."""
        if trainer.current_epoch >= self._bias_epochs:
            bias: Any = pl_module.net.whiten.bias  # type: ignore[union-attr]
            bias.grad = None
