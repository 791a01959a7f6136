"""Pictures of ten kinds of shape and texture, drawn for a whole block of images at once.

Only integer draws, the four operations and square roots are used: all are exact under IEEE 754, so that every
machine draws the same bytes. A shape is a signed distance in pixels, negative inside; its edge is softened
over one pixel.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lightning_cifar.data import IMAGE_SIZE

VERSION = 1
"""To be raised with every change to a drawing, so that no cache made before is taken for the new one."""

Floats = NDArray[np.float32]
Shape = Callable[[Floats, Floats, Floats, Floats], Floats]


def _disc(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    return np.sqrt(u * u + v * v) - r


def _ring(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    return np.abs(np.sqrt(u * u + v * v) - r * np.float32(0.8)) - r * np.float32(0.22)


def _square(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - r * np.float32(0.85)


def _triangle(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    half = r * np.float32(0.6)
    return np.maximum(-v, np.float32(0.866) * np.abs(u) + np.float32(0.5) * v) - half


def _cross(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    u, v, width = np.abs(u), np.abs(v), r * np.float32(0.32)
    return np.minimum(np.maximum(u - r, v - width), np.maximum(u - width, v - r))


def _wave(u: Floats, p: Floats) -> Floats:
    """Distance to the middle of the nearest stripe, less a quarter of the period: negative on the stripe."""
    w = u / p
    return np.abs(w - np.floor(w) - np.float32(0.5)) * p - p * np.float32(0.25)


def _patch(u: Floats, v: Floats, r: Floats) -> Floats:
    """The round piece that a texture fills; half as large again as a shape, for the texture to show."""
    return np.sqrt(u * u + v * v) - r * np.float32(1.4)


def _stripes(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    return np.maximum(_wave(v, p), _patch(u, v, r))


def _checkers(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    p = p * np.float32(1.3)
    quarter = p * np.float32(0.25)  # so that four fields meet in the middle
    a, b = _wave(u + quarter, p), _wave(v + quarter, p)
    return np.maximum(np.maximum(np.minimum(a, b), -np.maximum(a, b)), _patch(u, v, r))


def _dots(u: Floats, v: Floats, r: Floats, p: Floats) -> Floats:
    a, b = _wave(u, p) + p * np.float32(0.25), _wave(v, p) + p * np.float32(0.25)
    return np.maximum(np.sqrt(a * a + b * b) - p * np.float32(0.3), _patch(u, v, r))


# Name, shape, and the turn: the middle and half the range of tan(angle / 2). Half a turn: any angle, seen
# from above.
_KINDS: tuple[tuple[str, Shape, float, float], ...] = (
    ("disc", _disc, 0.0, 1.0),
    ("ring", _ring, 0.0, 1.0),
    ("square", _square, 0.0, 0.4),
    ("triangle", _triangle, 0.0, 0.2),
    ("cross", _cross, 0.0, 0.4),
    ("horizontal stripes", _stripes, 0.0, 0.1),
    ("vertical stripes", _stripes, 1.0, 0.1),
    ("diagonal stripes", _stripes, 0.4142, 0.1),
    ("checkerboard", _checkers, 0.0, 0.4),
    ("dots", _dots, 0.0, 0.4),
)

NAMES = [name for name, *_ in _KINDS]
"""The classes, in label order."""

_Y, _X = np.meshgrid(*[np.arange(IMAGE_SIZE, dtype=np.float32)] * 2, indexing="ij")


def draw(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture for each label.

    Args:
        labels: (N,), each an index into `NAMES`.
        rng: where positions, sizes, turns, colours and noise come from; nothing but its integers is used.

    Returns:
        uint8, (N, 32, 32, 3).
    """
    n = len(labels)

    def between(low: float, high: float, *shape: int) -> Floats:
        steps = rng.integers(0, 4096, size=(n, *(shape or (1, 1))), dtype=np.int32)
        return steps.astype(np.float32) * np.float32((high - low) / 4096) + np.float32(low)

    ground, shade = between(50, 205, 3, 1, 1), between(-50, 50, 3, 1, 1)
    slope_x, slope_y = between(-1, 1), between(-1, 1)
    slope = (slope_x * (_X - np.float32(15.5)) + slope_y * (_Y - np.float32(15.5))) * np.float32(1 / 31)
    picture = ground + shade * slope[:, None]

    for _ in range(3):  # things that mean nothing: short bars and blots
        x, y, across, along = between(0, 31), between(0, 31), between(0.6, 2), between(1, 5)
        u, v = _turned(_X - x, _Y - y, between(-1, 1))
        _paint(picture, np.maximum(np.abs(u) - across, np.abs(v) - along), between(20, 235, 3, 1, 1))

    x, y, r, period = between(9, 22), between(9, 22), between(4.5, 10), between(4.5, 7)
    turn = between(-1, 1)
    sign = np.float32(1) - np.float32(2) * rng.integers(0, 2, size=(n, 3, 1, 1), dtype=np.int32)
    colour = ground + sign.astype(np.float32) * between(22, 100, 3, 1, 1)
    distance = np.empty((n, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for kind, (_, shape, middle, spread) in enumerate(_KINDS):
        one = labels == kind
        u, v = _turned(_X - x[one], _Y - y[one], np.float32(middle) + np.float32(spread) * turn[one])
        distance[one] = shape(u, v, r[one], period[one])
    _paint(picture, distance, colour)

    grain = rng.integers(0, 256, size=picture.shape, dtype=np.uint8).astype(np.float32) - np.float32(127.5)
    picture += grain * between(0.05, 0.42, 1, 1, 1)
    return np.clip(picture, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _turned(u: Floats, v: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Turn coordinates by the angle whose half has the tangent `t`: that takes no sine or cosine."""
    square = t * t
    scale = np.reciprocal(square + np.float32(1))
    cosine, sine = (np.float32(1) - square) * scale, (t + t) * scale
    return cosine * u + sine * v, cosine * v - sine * u


def _paint(picture: Floats, distance: Floats, colour: Floats) -> None:
    """Lay colours (N, 3, 1, 1) over pictures (N, 3, 32, 32) where the distance (N, 32, 32) is negative."""
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[:, None]
    picture += cover * (colour - picture)
