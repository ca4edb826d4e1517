"""The checks of lesson 01, against complex exponentials and sums of cosines, not our `sinusoid`."""

import itertools
import math

import torch
from torch import Tensor

from . import Table, exercise


def _encoding(positions: Tensor, dim: int) -> Tensor:
    i = torch.arange(dim // 2, dtype=torch.float64)
    z = torch.exp(1j * positions.double()[..., None] * 10_000.0 ** (-2 * i / dim))
    return torch.stack([z.imag, z.real], dim=-1).flatten(-2)


@exercise(lambda: [(_encoding(6000 * torch.rand(n), 8).float(),) for n in (11, 5, 17)])
def read_clocks(code: Tensor) -> Table:
    """the slowest hand, read with atan2, gives every position back"""
    sine, cosine = code.double()[:, 6:].unbind(1)
    turn, angle, swapped = 2 * math.pi, torch.atan2(sine, cosine), torch.atan2(cosine, sine)
    right, fast = angle % turn * 1000, torch.atan2(*code.double()[:, :2].T) % turn
    return right.float(), {
        "take the angle modulo 2 pi": [1000 * angle, angle, 1000 * angle.abs()],
        "sine / cosine repeats after half a turn; use atan2": 1000 * (sine / cosine).atan(),
        "exchange the arguments; the sine comes first": swapped % turn * 1000,
        "this is the angle; divide it by the frequency of the clock": [angle % turn, right / 1e6],
        "you read the fastest clock, which turns once in 6.28 positions": [fast, 1000 * fast],
    }


def _dot(apart: float, dim: int, clocks: int = 0) -> float:
    return sum(math.cos(apart * 10_000.0 ** (-2 * i / dim)) for i in range(clocks or dim // 2))


@exercise(lambda: [(2, 1, 8), (0, 3, 16), (3, 5, 24), (4, 0, 40)])
def grid_dot(rows_apart: int, columns_apart: int, dim: int) -> Table:
    """the dot product of two cells, from their distances alone"""
    r, c, half, across = rows_apart, columns_apart, dim // 2, math.hypot(rows_apart, columns_apart)
    return _dot(r, half) + _dot(c, half), {
        "each axis has half of dim, not all of it": _dot(r, dim) + _dot(c, dim),
        "rows and columns have clocks of their own": [_dot(r + c, dim), _dot(across, dim)],
        "one of the two axes is missing": [_dot(r, half), _dot(c, half)],
        "the exponent is too small": _dot(r, dim, half // 2) + _dot(c, dim, half // 2),
    }


@exercise(lambda: [(2, 3, 4, 12), (4, 2, 3, 18), (3, 5, 2, 24)])
def position_volume(frames: int, height: int, width: int, dim: int) -> Table:
    """every cell of a film has the code of its frame, its row and its column"""
    places = torch.meshgrid(*map(torch.arange, (frames, height, width)), indexing="ij")
    orders = list(itertools.permutations([_encoding(p, dim // 3).float() for p in places]))
    film, *mixed = (torch.cat(order, -1) for order in orders)  # (frames, height, width, dim)
    turned = [film.movedim(0, 2), film.transpose(0, 1), film.transpose(1, 2)]
    return film.flatten(0, 2), {
        "the thirds are added; lay them side by side": torch.stack(orders[0]).sum(0).flatten(0, 2),
        "the frame changes slowest, then the row": [other.flatten(0, 2) for other in turned],
        "lay the thirds in the order frame, row, column": [other.flatten(0, 2) for other in mixed],
    }


@exercise(lambda: [(torch.rand(7), 16), (torch.rand(4), 10), (torch.rand(9), 6)], tolerance=1e-3)
def time_code(t: Tensor, dim: int) -> Table:
    """times keep their fractions, and their clocks move"""
    whole = [(1000 * t).floor(), (1000 * t).round(), 0 * t]
    return _encoding(1000 * t.double(), dim).float(), {
        "t is rounded to a whole number; keep its fraction": [_encoding(x, dim) for x in whole],
        "the hands hardly move; count in thousandths": _encoding(t, dim),
    }
