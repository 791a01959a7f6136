"""Image files, in any format that Pillow reads, to 32x32 RGB."""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lightning_cifar.data import IMAGE_SIZE
from lightning_cifar.data.progress import say, track
from lightning_cifar.errors import UserError

_NAMED = 10  # files that an error names, where it is about more
_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_BLOCK = 64  # files that a thread takes at a time
_PROGRAMS = ("EPS", "WMF")  # Pillow has other programs draw these, which run what the file says
_LARGE, _MOST = 16_000_000, Image.MAX_IMAGE_PIXELS or sys.maxsize  # pixels; Pillow only warns beyond its own limit
_one_large_image = threading.Lock()  # else as many would be in memory at a time as there are cores


def read_image(path: str | Path) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read an image as RGB, upright, squeezed to 32x32 where it has another size.

    Returns:
        uint8 (32, 32, 3), and the width and height that the file had.

    Raises:
        ValueError: the file is a program, or would take gigabytes; Pillow itself raises much else.
    """
    with Image.open(path) as image:
        size = image.size
        if image.format in _PROGRAMS:
            raise ValueError(f"{image.format} is a program that draws, no image")
        if size != _SIZE:
            image.draft("RGB", _SIZE)  # a large JPEG is decoded at a fraction of its size
        if image.width * image.height > _MOST:
            raise ValueError(f"{size[0]}x{size[1]} pixels are more than {_MOST / 1e6:.0f} million: make it smaller")
        with _one_large_image if size[0] * size[1] > _LARGE else contextlib.nullcontext():
            return _to_rgb(image), size


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Decode an image: RGB, upright, 32x32."""
    image.load()
    upright = image
    with contextlib.suppress(Exception):  # what Pillow raises over broken EXIF; the pixels are whole
        if image.getexif():
            upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip them to white
        upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
    if upright.mode != "RGB":
        upright = upright.convert("RGB")
    if upright.size != _SIZE:
        upright = upright.resize(_SIZE, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(upright)


def read_files(paths: Sequence[str], what: str) -> NDArray[np.uint8]:
    """Decode image files on all cores, with a progress bar, and a warning where some had to be resized.

    Args:
        paths: the files, in the order of the result.
        what: what they are called in messages: `train`, say.

    Returns:
        uint8 (N, 32, 32, 3).

    Raises:
        UserError: some are no images that Pillow can read.
    """
    images = np.empty((len(paths), *_SIZE, 3), np.uint8)
    starts = range(0, len(paths), _BLOCK)
    found: list[tuple[int, int] | str] = []
    say(f"Decoding {len(paths):,} {what} images ...")
    # Threads: Pillow releases the interpreter's lock while it decodes, and processes would have to send the images.
    with ThreadPoolExecutor(os.cpu_count()) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow says of a file's oddities, without the file's name
        blocks = threads.map(lambda at: _read_block(paths[at : at + _BLOCK], images[at : at + _BLOCK]), starts)
        for block in track(blocks, "Decoding", len(starts)):
            found += block

    if unreadable := [f"{path} ({size})" for path, size in zip(paths, found, strict=True) if isinstance(size, str)]:
        named = ", ".join(unreadable[:_NAMED]) + (", …" if len(unreadable) > _NAMED else "")
        raise UserError(f"cannot read {len(unreadable)} of {len(paths)} {what} images: {named}; remove or replace them")
    if resized := sum(size != _SIZE for size in found):
        warnings.warn(f"{resized} of {len(paths)} {what} images were resized to 32x32", stacklevel=2)
    return images


def _read_block(paths: Sequence[str], out: NDArray[np.uint8]) -> list[tuple[int, int] | str]:
    """Read images into an array (N, 32, 32, 3); return the size that each had, or the reason why it is unreadable."""
    found: list[tuple[int, int] | str] = []
    for i, path in enumerate(paths):
        try:
            out[i], size = read_image(path)
            found.append(size)
        except Exception as error:  # Pillow's plugins raise whatever their parsers meet in a broken file
            found.append(str(error).partition("\n")[0] or type(error).__name__)
    return found
