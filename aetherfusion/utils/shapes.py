"""Owns shapes10: ten drawn classes that stand in for CIFAR-10 where there is no network.

Lessons 00 to 06 train on it when they have two minutes and two CPU cores. Everything is made in
memory from a seed. Each class is a *signed distance*: a function of the plane that is negative
inside the figure, zero on its edge and positive outside (Quilez, "2D distance functions"). Once
the distance is known in pixels, a smooth edge is one line: see `_coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SHAPES10_CLASSES: tuple[str, ...] = tuple(
    [
        "disc",
        "square",
        "triangle",
        "ring",
        "cross",
        "star",
        "heart",
        "moon",
        "stripes",
        "checkerboard",
    ]
)


def draw_shapes10(num_images: int, *, seed: int = 0, image_size: int = 32) -> tuple[Tensor, Tensor]:
    """Draw `num_images` figures, the ten classes in turn, each with its own place, size and colour.

        images, labels = draw_shapes10(100)

    Image i depends on (seed, i, image_size) alone, so a larger set begins with the smaller one.

    Returns:
        images: (N, 3, image_size, image_size) uint8.
        labels: (N,) int64, 0, 1, ..., 9, 0, 1, ... (an index into `SHAPES10_CLASSES`).

    Raises:
        ValueError: num_images below 1 or image_size below 8 (too few pixels to tell a star).
    """
    if num_images < 1:
        raise ValueError(f"num_images must be at least 1, got {num_images}")
    if image_size < 8:
        raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(num_images, 9, generator=generator)  # (N, 9), one row per image
    labels = torch.arange(num_images) % len(SHAPES10_CLASSES)
    images = torch.empty(num_images, 3, image_size, image_size, dtype=torch.uint8)
    for label, distance in enumerate(_DISTANCES):
        rows = slice(label, None, len(SHAPES10_CLASSES))  # every tenth image
        if label < num_images:
            images[rows] = _draw(distance, chance[rows], image_size)
    return images, labels


def _draw(distance: Callable[[Tensor, Tensor], Tensor], chance: Tensor, size: int) -> Tensor:
    """Draw one class: chance (n, 9) in [0, 1) decides, the result is (n, 3, size, size) uint8."""
    parts = chance[:, :, None, None].unbind(1)  # nine of (n, 1, 1)
    across, down, scale, angle, mirror, hue, partner, light, slope = parts

    # Place, size and tilt. The whole picture is the square [-1, 1] x [-1, 1], y upwards.
    radius = 0.68 + 0.12 * scale  # (n, 1, 1)
    room = 0.86 - radius  # so that nothing is cut off
    tilt = math.radians(6) * (2 * angle - 1)
    line = (torch.arange(size) + 0.5) * (2 / size) - 1  # pixel centres
    x = (line[None, None, :] - (2 * across - 1) * room) / radius  # (n, 1, size)
    y = (-line[None, :, None] - (2 * down - 1) * room) / radius  # (n, size, 1)
    u = tilt.cos() * x + tilt.sin() * y  # (n, size, size)
    v = tilt.cos() * y - tilt.sin() * x
    u = torch.where(mirror < 0.5, u, -u)  # half look the other way
    ink = _coverage(distance(u, v) * radius * (size / 2))  # (n, size, size)

    # A bright figure on a dark ground of a far hue, a little lighter towards the top or bottom.
    figure = 0.45 + 0.55 * _colour(hue)  # (n, 3, 1, 1)
    ground = (0.12 + 0.2 * light[:, None]) * _colour(hue + 0.35 + 0.3 * partner)
    shade = 1 + (slope[:, None] - 0.5) * line[None, None, :, None]  # (n, 1, size, 1)
    ground = ground * shade
    pixels = torch.lerp(ground, figure, ink[:, None])
    return pixels.mul_(255).round_().to(torch.uint8)  # (n, 3, size, size)


def _coverage(distance: Tensor) -> Tensor:
    """How much of each pixel is inked, in [0, 1], given the distance to the edge in pixels."""
    t = (0.5 - distance / 1.5).clamp_(0, 1)  # the edge is 1.5 pixels wide
    return t * t * (3 - 2 * t)  # smoothstep: no corner at either end


def _colour(hue: Tensor) -> Tensor:
    """A vivid colour for every hue: hue (n, 1, 1), a full turn is 1, to RGB (n, 3, 1, 1)."""
    thirds = torch.tensor([0, 1 / 3, 2 / 3])[:, None, None]
    return 0.5 + 0.5 * torch.cos(2 * math.pi * (hue[:, None] - thirds))


# The ten signed distances. The figures have a radius of about 1 around the origin.


def _disc(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 1


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.78).abs_() - 0.24


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(x.abs() - width, y.abs() - height)


def _square(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, 0.84, 0.84)


def _cross(x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(_box(x, y, 1.0, 0.3), _box(x, y, 0.3, 1.0))


def _star(x: Tensor, y: Tensor, points: int = 5, waist: float = 0.45) -> Tensor:
    """A star with tips at radius 1 and inner corners at radius `waist`, one tip upwards."""
    # By symmetry one half of one point is enough: fold the plane onto it.
    half = math.pi / points
    radius, angle = torch.hypot(x, y), torch.atan2(x, y)  # angle from the upward axis
    angle = (torch.remainder(angle + half, 2 * half) - half).abs_()  # in [0, half]
    # There the edge is a straight line from the tip (1, 0) to the inner corner.
    along, aside = waist * math.cos(half) - 1, waist * math.sin(half)
    length = math.hypot(along, aside)
    return ((radius * angle.cos() - 1) * aside - radius * angle.sin() * along) / length


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    return _star(x, y + 0.15, points=3, waist=0.5) - 0.05  # with this waist the edges are straight


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # A square that stands on a corner, and a disc on each of its two upper sides.
    a = 0.56
    p, q = (y + x) * math.sqrt(0.5), (y - x) * math.sqrt(0.5)
    discs = torch.minimum(torch.hypot(p - a, q), torch.hypot(p, q - a)) - a
    return torch.minimum(_box(p, q, a, a), discs)


def _moon(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(_disc(x, y), 0.85 - torch.hypot(x - 0.5, y - 0.15))


def _wave(s: Tensor, period: float) -> Tensor:
    """Signed distance to bands across s: half of each period is inside, half outside."""
    return (torch.remainder(s / period, 1) - 0.5).abs_().sub_(0.25).mul_(period)


def _stripes(x: Tensor, y: Tensor) -> Tensor:
    return _wave((x + y) * math.sqrt(0.5), 0.9)


def _checkerboard(x: Tensor, y: Tensor) -> Tensor:
    # Inside where exactly one of the two band patterns is inside (an exclusive or).
    a, b = _wave(x, 1.3), _wave(y, 1.3)
    return torch.maximum(torch.minimum(a, b), -torch.maximum(a, b))


_DISTANCES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    _disc,
    _square,
    _triangle,
    _ring,
    _cross,
    _star,
    _heart,
    _moon,
    _stripes,
    _checkerboard,
)
