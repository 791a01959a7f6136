"""One image file to 32x32 RGB; run as a program, a worker that does so for lists of files.

It loads Pillow and numpy and nothing of this package, so that a worker starts in a moment and stays small.
The worker reads one JSON list of paths per line and answers each with one JSON line, followed by the images'
bytes.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIZE = 32
IMAGE_BYTES = SIZE * SIZE * 3


class UnreadableImageError(Exception):
    """A file that is no image; its arguments are the path and the reason."""


class Found(NamedTuple):
    """What was found beside the images: how many had which other size, `{"64x48": 3}`; path and reason of no images."""

    other_sizes: Counter[str]
    unreadable: list[tuple[str, str]]


def read_image(path: str | Path) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read an image as RGB, upright, squeezed to 32x32 where it has another size.

    Returns:
        uint8 (32, 32, 3), and the width and height that the file had.

    Raises:
        UnreadableImageError: Pillow cannot read the file.
    """
    try:
        with Image.open(path) as image:
            size = image.size
            if size != (SIZE, SIZE):
                image.draft("RGB", (SIZE, SIZE))  # a large JPEG is decoded at a fraction of its size
            upright: Image.Image = ImageOps.exif_transpose(image) if image.getexif() else image
            if upright.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip them to white
                upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
            if upright.mode != "RGB":
                upright = upright.convert("RGB")
            if upright.size != (SIZE, SIZE):
                upright = upright.resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.asarray(upright), size
    except Exception as error:  # Pillow's plugins raise whatever their parsers meet in a broken file
        raise UnreadableImageError(str(path), str(error).partition("\n")[0] or type(error).__name__) from error


def read_images(paths: Sequence[str], out: NDArray[np.uint8]) -> Found:
    """Read images into an array (N, 32, 32, 3); what Pillow cannot read leaves its place as it was."""
    found = Found(Counter(), [])
    for i, path in enumerate(paths):
        try:
            out[i], (width, height) = read_image(path)
        except UnreadableImageError as error:
            found.unreadable.append(error.args)
            continue
        if (width, height) != (SIZE, SIZE):
            found.other_sizes[f"{width}x{height}"] += 1
    return found


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for line in sys.stdin:
        paths = json.loads(line)
        images = np.zeros((len(paths), SIZE, SIZE, 3), np.uint8)
        sys.stdout.buffer.write(json.dumps(read_images(paths, images)).encode() + b"\n")
        sys.stdout.buffer.write(images.data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
