"""A built-in set of images, drawn by the project itself, for where no real data is at hand."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from lightning_cifar.data import IMAGE_SIZE, SPLITS, LabelledImages, Split, shapes
from lightning_cifar.data.cache import Cache
from lightning_cifar.data.progress import say, track
from lightning_cifar.files import user_cache_folder

# Pictures drawn at once: more fall out of the processor's cache. Part of what a seed stands for: to change it
# is to raise shapes.VERSION.
_BLOCK = 250


class SyntheticSource:
    """Ten kinds of shape and texture in random colours, places, sizes and turns; the same on every machine.

    `Net` learns them gradually: about two thirds of the test images after two epochs at batch 4. The classes
    are balanced in each split.

    Args:
        cache_dir: what the folder of the drawn images is put into; the user's cache where this cannot be written to.
        train_size: number of training images.
        test_size: number of test images.
    """

    name = "synthetic"

    def __init__(self, cache_dir: Path, train_size: int = 50_000, test_size: int = 10_000) -> None:
        self.sizes: dict[Split, int] = {"train": train_size, "test": test_size}
        folder = Path(cache_dir).expanduser() / self.name
        self._cache = Cache([folder, user_cache_folder(folder)])

    def class_names(self) -> list[str]:
        """Return the ten kinds in label order."""
        return list(shapes.NAMES)

    def prepare(self) -> None:
        """Draw what the cache does not hold."""
        for split in reversed(SPLITS):  # the training images last: the cache keeps them in memory
            self._cache.prepare(split, self._key(split), partial(self._draw, split))

    def load(self, split: Split) -> LabelledImages:
        """Return what `prepare` drew, or read the split from the cache; draw it where that has been lost."""
        return self._cache.load(split, self._key(split), partial(self._draw, split))

    def _key(self, split: Split) -> str:
        return f"synthetic {shapes.VERSION} {split} {self.sizes[split]}"

    def _draw(self, split: Split) -> LabelledImages:
        """Draw a split block by block, each from a seed of its own, so that threads can share the work."""
        stream, size = [0, SPLITS.index(split)], self.sizes[split]
        labels = np.random.default_rng(stream).permutation(size).astype(np.int64) % len(shapes.NAMES)
        images = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)

        def draw_block(start: int) -> None:
            block = slice(start, start + _BLOCK)
            images[block] = shapes.draw(labels[block], np.random.default_rng([*stream, 1 + start]))

        starts = range(0, size, _BLOCK)
        say(f"Drawing {size:,} synthetic {split} images ...")
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(track(threads.map(draw_block, starts), "Drawing", len(starts)))
        return LabelledImages.from_numpy(images, labels)
