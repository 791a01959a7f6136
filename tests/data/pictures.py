"""Random pictures, and a source of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from lightning_cifar.data.folder import FolderSource


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Return a random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def prepared(folder: Path) -> FolderSource:
    """Return a source that has decoded a folder or found it in its cache."""
    source = FolderSource(folder)
    source.prepare()
    return source
