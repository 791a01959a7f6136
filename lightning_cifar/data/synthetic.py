"""A built-in set of images, drawn by the project itself, for where no real data is at hand."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from lightning_cifar.data import IMAGE_SIZE, SPLITS, LabelledImages, Split, shapes
from lightning_cifar.data.cache import FORMAT, Cache
from lightning_cifar.data.progress import progress, say
from lightning_cifar.files import user_cache_folder

# Pictures drawn at once: more fall out of the processor's cache. Part of what a seed stands for: to change it
# is to raise shapes.VERSION.
_BLOCK = 250


class SyntheticSource:
    """Ten kinds of shape and texture in random colours, places, sizes and turns; the same on every machine.

    `Net` learns them gradually: about two thirds of the test images after two epochs at batch 4. The classes
    are balanced in each split.

    Args:
        cache_dir: where the drawn images are kept; the user's cache folder where this cannot be written to.
        seed: what all pictures follow from, at least 0.
        train_size: number of training images.
        test_size: number of test images.
    """

    name = "synthetic"

    def __init__(self, cache_dir: Path, seed: int = 0, train_size: int = 50_000, test_size: int = 10_000) -> None:
        self.seed = seed
        self.sizes: dict[Split, int] = {"train": train_size, "test": test_size}
        folders = [Path(cache_dir).expanduser(), user_cache_folder(Path(cache_dir))]
        self._cache = Cache(folders, prefix="synthetic-")

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
        return f"synthetic {FORMAT}.{shapes.VERSION} {split} seed={self.seed} n={self.sizes[split]}"

    def _draw(self, split: Split) -> LabelledImages:
        """Draw a split block by block, each from a seed of its own, so that threads can share the work."""
        stream, size = [self.seed, {"train": 0, "test": 1}[split]], self.sizes[split]
        labels = np.random.default_rng(stream).permutation(size).astype(np.int64) % len(shapes.NAMES)
        images = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)

        # The GNU allocator gives memory back after every block, only to fault it in again, which takes longer
        # than the drawing: unless it has seen a larger piece come and go (mallopt(3), M_MMAP_THRESHOLD).
        larger = np.empty(16 << 20, np.uint8)
        del larger

        def draw_block(start: int) -> None:
            block = slice(start, start + _BLOCK)
            images[block] = shapes.draw(labels[block], np.random.default_rng([*stream, 1 + start]))

        starts = range(0, size, _BLOCK)
        say(f"Drawing {size:,} synthetic {split} images ...")
        with progress("Drawing", size) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
            for start, _ in zip(starts, threads.map(draw_block, starts), strict=True):
                advance(min(_BLOCK, size - start))
        return LabelledImages.from_numpy(images, labels)
