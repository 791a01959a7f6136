"""One image file to 32x32 RGB; run as a program, a worker that does so for lists of files.

It loads Pillow and numpy and nothing of this package, so that a worker starts in a moment and stays small.
The worker reads one JSON list of paths per line and answers each with one JSON line, followed by the images'
bytes unless that line tells of an error.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIZE = 32
IMAGE_BYTES = SIZE * SIZE * 3


class UnreadableImageError(Exception):
    """A file that is no image; its arguments are the path and the reason."""


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


def read_images(paths: Sequence[str], out: NDArray[np.uint8]) -> Counter[str]:
    """Read images into an array (N, 32, 32, 3).

    Returns:
        How many had which other size, such as `{"64x48": 3}`.

    Raises:
        UnreadableImageError: the first of the files that Pillow cannot read.
    """
    other_sizes: Counter[str] = Counter()
    for i, path in enumerate(paths):
        out[i], (width, height) = read_image(path)
        if (width, height) != (SIZE, SIZE):
            other_sizes[f"{width}x{height}"] += 1
    return other_sizes


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for line in sys.stdin:
        paths = json.loads(line)
        images = np.empty((len(paths), SIZE, SIZE, 3), np.uint8)
        try:
            answer: dict[str, object] = {"other_sizes": read_images(paths, images)}
        except UnreadableImageError as error:
            answer = {"unreadable": error.args}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        if "unreadable" not in answer:
            sys.stdout.buffer.write(images.data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
