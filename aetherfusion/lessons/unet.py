"""The checks of lesson 03, against torch's functions and measured receptive fields."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from . import Table, exercise


@exercise(lambda: [torch.randn(1, *shape) for shape in ((3, 5, 6, 10), (2, 1, 8, 4), (1, 7, 2, 6))])
def fold_pixels(x: Tensor) -> Table:
    """folding by hand equals F.pixel_unshuffle"""
    right, (b, c, h, w) = F.pixel_unshuffle(x, 2), x.shape
    squares = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    return right, {
        "a reshape alone moves no number; permute the axes first": x.reshape(right.shape),
        "the channels change fastest; keep the four of one together": squares.flatten(1, 3),
        "read each square row by row": squares.permute(0, 3, 2, 1, 4, 5).flatten(1, 3),
    }


@exercise(lambda: [(0, 0), (1, 0), (0, 1), (2, 1), (1, 3), (3, 2)])
def pixels_seen(before: int, after: int) -> Table:
    """your widths are those that the gradient measures"""
    start = x = torch.ones(1, 1, 48, requires_grad=True)
    for width, stride in [(3, 1)] * before + [(2, 2)] + [(3, 1)] * after:
        x = F.conv1d(x, torch.ones(1, 1, width), stride=stride, padding=width // 3)
    seen = torch.autograd.grad(x[0, 0, 12], start)[0] > 0
    return int(seen.sum()), {
        "a cell at half size is two pixels wide": 1 + 2 * (before + after),
        "Downsample itself sees a square of 2 x 2, not one pixel": 1 + 2 * before + 4 * after,
        "a convolution before the halving counts single pixels": 2 * (1 + 2 * after + 2 * before),
        "the halving doubles what comes after it": 2 * (1 + 2 * before) + 2 * after,
    }


@exercise(lambda: [(torch.randn(6 - h, h * w, 3), h, w) for h, w in ((3, 5), (4, 2), (2, 6))])
def tokens_to_map(tokens: Tensor, height: int, width: int) -> Table:
    """every token is back in its cell"""
    right = torch.stack(tokens.split(width, 1), 1).movedim(-1, 1)  # (B, D, height, width)
    turned = tokens.mT.unflatten(2, (width, height))
    return right, {
        "the channels are last; put them before height and width": right.movedim(1, -1),
        "reshape spreads a token over many cells; move an axis first": tokens.reshape(right.shape),
        "height and width are exchanged; fill the map row by row": [turned, turned.mT],
    }


@exercise(lambda: [(*torch.randn(2, 7 - c, c, 3, c), torch.randn(7 - c, 3 * c)) for c in (5, 1, 4)])
def gated_update(x: Tensor, h: Tensor, steering: Tensor) -> Table:
    """a block with a gate; with steering at zero it is the identity"""
    scale, shift, gate = three = steering[:, :, None, None].chunk(3, dim=1)
    right, *mixed = (x + g * (h * (1 + f) + s) for f, s, g in itertools.permutations(three))
    gated = [right - x + gate * x, x + gate * h * (1 + scale) + shift]
    return right, {
        "a scale of 0 should leave h unchanged": x + gate * (h * scale + shift),
        "the gate is missing": x + h * (1 + scale) + shift,
        "x is missing; the update is added to it": right - x,
        "a gate of 0 should close; do not add 1 to it": right + h * (1 + scale) + shift,
        "scale, shift and gate are mixed up; they come in this order": mixed,
        "the gate multiplies the update, all of it and nothing else": gated,
        "the shift is missing": x + gate * h * (1 + scale),
        "the shift is scaled too; scale h, then shift": x + gate * (h + shift) * (1 + scale),
    }
