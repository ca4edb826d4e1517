"""shapes10: ten classes of drawn shapes, for lessons without a download. No lesson builds this.

A shape is a signed distance to its edge, negative inside (Quilez, "2D distance functions").
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def draw_shapes10(num_images: int, *, seed: int = 0, image_size: int = 32) -> tuple[Tensor, Tensor]:
    """Draws the ten classes in turn: images (N, 3, image_size, image_size) uint8, labels (N,).

    Image i depends on seed, i and image_size only, so a larger set begins with the smaller one.
    """
    random = torch.rand(num_images, 9, generator=torch.Generator().manual_seed(seed))  # (N, 9)
    labels = torch.arange(num_images) % len(_SHAPES)
    images = torch.empty(num_images, 3, image_size, image_size, dtype=torch.uint8)
    for label, distance in enumerate(_SHAPES.values()):
        images[label::10] = _draw(distance, random[label::10], image_size)
    return images, labels


def _draw(distance: Callable[[Tensor, Tensor], Tensor], random: Tensor, size: int) -> Tensor:
    """Draws one class from random numbers (n, 9) in [0, 1): (n, 3, size, size) uint8."""
    parts = random[:, :, None, None].unbind(1)  # nine of (n, 1, 1)
    across, down, scale, angle, mirror, hue, partner, light, slope = parts
    # Position, size and tilt. The image is the square [-1, 1] x [-1, 1] with y pointing upwards.
    radius = 0.68 + 0.12 * scale  # (n, 1, 1)
    margin = 0.86 - radius  # keeps the whole shape inside the image
    tilt = math.radians(6) * (2 * angle - 1)
    line = (torch.arange(size) + 0.5) * (2 / size) - 1  # (size,), the pixel centres
    x = (line[None, None, :] - (2 * across - 1) * margin) / radius  # (n, 1, size)
    y = (-line[None, :, None] - (2 * down - 1) * margin) / radius  # (n, size, 1)
    u = tilt.cos() * x + tilt.sin() * y  # (n, size, size)
    v = tilt.cos() * y - tilt.sin() * x  # (n, size, size)
    u = torch.where(mirror < 0.5, u, -u)  # half of the shapes are mirrored
    # How much of each pixel is inside: a smoothstep over an edge that is 1.5 pixels wide.
    t = (0.5 - distance(u, v) * radius * (size / 2) / 1.5).clamp_(0, 1)
    inside = t * t * (3 - 2 * t)  # (n, size, size) in [0, 1]
    # A bright shape on a dark background of another hue, which has a slight vertical gradient.
    shape = 0.45 + 0.55 * _colour(hue)  # (n, 3, 1, 1)
    background = (0.12 + 0.2 * light[:, None]) * _colour(hue + 0.35 + 0.3 * partner)
    background = background * (1 + (slope[:, None] - 0.5) * line[None, None, :, None])
    pixels = torch.lerp(background, shape, inside[:, None])  # (n, 3, size, size)
    return pixels.mul_(255).round_().to(torch.uint8)


def _colour(hue: Tensor) -> Tensor:
    """A saturated RGB colour (n, 3, 1, 1) for each hue (n, 1, 1); a full turn of the hue is 1."""
    thirds = torch.tensor([0, 1 / 3, 2 / 3])[:, None, None]
    return 0.5 + 0.5 * torch.cos(2 * math.pi * (hue[:, None] - thirds))


def _disc(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 1


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(x.abs() - width, y.abs() - height)


def _star(x: Tensor, y: Tensor, points: int = 5, waist: float = 0.45) -> Tensor:
    """A star with tips at radius 1 and inner corners at radius `waist`, and one tip at the top."""
    # By symmetry, half of one point is enough: fold the plane onto it.
    half = math.pi / points
    radius, angle = torch.hypot(x, y), torch.atan2(x, y)  # angle from the upward axis
    angle = (torch.remainder(angle + half, 2 * half) - half).abs_()  # in [0, half]
    # There, the edge is a straight line from the tip (1, 0) to the inner corner.
    along, across = waist * math.cos(half) - 1, waist * math.sin(half)
    length = math.hypot(along, across)
    return ((radius * angle.cos() - 1) * across - radius * angle.sin() * along) / length


def _heart(x: Tensor, y: Tensor, a: float = 0.56) -> Tensor:
    # A square standing on one corner, with a disc on each of its two upper sides.
    p, q = (y + x) * math.sqrt(0.5), (y - x) * math.sqrt(0.5)
    discs = torch.minimum(torch.hypot(p - a, q), torch.hypot(p, q - a)) - a
    return torch.minimum(_box(p, q, a, a), discs)


def _bands(s: Tensor, period: float) -> Tensor:
    """Bands across s: half of each period is inside, half outside."""
    return (torch.remainder(s / period, 1) - 0.5).abs_().sub_(0.25).mul_(period)


def _checkerboard(x: Tensor, y: Tensor) -> Tensor:
    # Inside where exactly one of the two patterns of bands is inside (exclusive or).
    a, b = _bands(x, 1.3), _bands(y, 1.3)
    return torch.maximum(torch.minimum(a, b), -torch.maximum(a, b))


_SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": _disc,
    "square": lambda x, y: _box(x, y, 0.84, 0.84),
    "triangle": lambda x, y: _star(x, y + 0.15, points=3, waist=0.5) - 0.05,  # straight edges
    "ring": lambda x, y: (torch.hypot(x, y) - 0.78).abs_() - 0.24,
    "cross": lambda x, y: torch.minimum(_box(x, y, 1.0, 0.3), _box(x, y, 0.3, 1.0)),
    "star": _star,
    "heart": _heart,
    "moon": lambda x, y: torch.maximum(
        torch.hypot(x, y) - 1, 0.85 - torch.hypot(x - 0.5, y - 0.15)
    ),
    "stripes": lambda x, y: _bands((x + y) * math.sqrt(0.5), 0.9),
    "checkerboard": _checkerboard,
}
SHAPES10_CLASSES = tuple(_SHAPES)
