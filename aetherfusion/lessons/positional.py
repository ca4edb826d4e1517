"""The checks of lesson 01, against complex exponentials and sums of cosines, not our `sinusoid`."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn, randn

from . import NotYet, Student, Table, exercise


def _waves(positions: Tensor, dim: int, exponent: float = -2, clocks: int = 0) -> Tensor:
    i = torch.arange(clocks or dim // 2, dtype=torch.float64)
    return torch.exp(1j * positions.double()[..., None] * 10_000.0 ** (exponent * i / dim))


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a, b], dim=-1).flatten(-2).float()


def _encoding(positions: Tensor | int, dim: int, exponent: float = -2) -> Tensor:
    z = _waves(torch.arange(positions) if isinstance(positions, int) else positions, dim, exponent)
    return _pairs(z.imag, z.real)


def _cells(*sizes: int) -> Tensor:
    """The coordinates of every cell, an axis in each row."""
    return torch.cartesian_prod(*map(torch.arange, sizes)).T


@exercise(lambda: [(lambda x: (x * x.roll(1, 0)).sum(0), randn(4, 2)),  # it reads alike backwards
                   (lambda x: x.cumsum(0).square().sum(0), randn(3, 3)),
                   (lambda x: x.relu().sum(0), randn(2, 4))])  # fmt: skip
def my_order_gap(read: Any, x: Tensor) -> Table:
    """0 for a reader that cannot see the order, and the largest change for any other"""
    first, orders = read(x), itertools.permutations(range(len(x)))
    change = torch.stack([read(x[list(order)]) - first for order in orders])
    size = change.abs()
    means = [size.mean(), size.mean(1).max(), size.sum(1).max(), change.norm(dim=1).max()]
    return size.max(), {
        "this is one order only; try all of them": [size[-1].max(), size[-2].max(), size[1].max()],
        "a change can be negative; take the absolute value": [change.max(), change.min().abs()],
        "take the largest change of any entry": [*means, size.max(0).values, size.max(1).values],
        "these are readings; subtract read(x)": (change + first).abs().max(),
    }


@exercise(lambda: [(torch.arange(7), 6), (3 * torch.rand(4), 10), (torch.arange(40, 45), 14)])
def my_sinusoid(positions: Tensor, dim: int) -> Table:
    """sine and cosine of every clock, pair by pair"""
    z, late = _waves(positions, dim), _waves(positions, dim, -2, dim // 2 + 1)[:, 1:]
    parts, every = [z.imag, z.real], [_waves(positions, dim, e, dim) for e in (-1, -2)]
    return _encoding(positions, dim), {
        "keep each pair together": [torch.hstack(parts), torch.hstack(parts[::-1])],
        "exchange sine and cosine; the sine comes first": _pairs(z.real, z.imag),
        "the exponent is -2i / dim": [_encoding(positions, dim, e) for e in (-1, -4, 2, 1)],
        "a pair has one speed": [_pairs(w.imag[:, ::2], w.real[:, 1::2]) for w in every],
        "i counts from 0, so that the first clock has speed 1": _pairs(late.imag, late.real),
    }


def _turn(delta: float, dim: int, exponent: float = -2) -> Tensor:
    z = _waves(torch.tensor([float(delta)]), dim, exponent)[0]
    return torch.block_diag(*torch.stack([z.real, z.imag, -z.imag, z.real], 1).view(-1, 2, 2))


@exercise(lambda: [(2, 6), (-3, 10), (0.5, 14)])
def my_turn(delta: float, dim: int) -> Table:
    """one rotation for each clock moves every position on by delta"""
    right, order = _turn(delta, dim), [*range(0, dim, 2), *range(1, dim, 2)]
    alike = torch.block_diag(*[right[:2, :2]] * (dim // 2))
    return right.float(), {
        "every clock needs its own speed; yours turn alike": alike,
        "the exponent is -2i / dim": [_turn(delta, dim, e) for e in (-1, -4, 2, 1)],
        "the entries of a clock are neighbours, 2i and 2i + 1": right[order][:, order],
        "the minus belongs to the lower sine": [right.T, right.triu() + right.triu(1).T],
        "the angle is delta times the speed; delta is missing": _turn(1, dim),
    }


@exercise(lambda: [(randn(n, d), *randn(2, d, d)) for n, d in ((5, 6), (3, 8), (7, 10))])
def my_scores(encodings: Tensor, w_q: Tensor, w_k: Tensor) -> Table:
    """row p holds the scores of the query at p with all keys"""
    e, q, k = encodings, encodings @ w_q.T, encodings @ w_k.T
    return q @ k.T, {
        "a projection is encodings @ w.T; yours lacks the .T": e @ w_q @ (e @ w_k).T,
        "one of the projections lacks its .T": [e @ w_q @ k.T, q @ (e @ w_k).T],
        "project queries by w_q, keys by w_k": [q @ e.T, q @ q.T, e @ k.T, k @ k.T, e @ e.T],
        "these are weights; the softmax comes in lesson 02": (q @ k.T).softmax(-1),
    }


def _kept(student: Student, d_model: int, max_len: int) -> Tensor:
    module = nn.Module()
    student(module, d_model, max_len, returns=False)
    if "encoding" in dict(module.named_parameters()):
        raise NotYet("a parameter would be trained; use register_buffer")
    if "encoding" not in dict(module.named_buffers()):
        raise NotYet("no buffer is named `encoding`, and nothing else moves with the module")
    if "encoding" in module.state_dict():
        raise NotYet("the table would be saved with the weights; add persistent=False")
    return module.encoding  # type: ignore[return-value]


@exercise(lambda: [(6, 9), (10, 4), (8, 13)], run=_kept)
def keep_encoding(d_model: int, max_len: int) -> Table:
    """the table moves with the module, and is neither trained nor saved"""
    long = _encoding(max_len + 1, d_model)
    return long[:-1], {"the positions are 0 to max_len - 1": [long, long[1:], long[1:-1]]}


def _added(student: Student, x: Tensor, table: Tensor) -> Any:
    if getattr(student(x.half(), table), "dtype", torch.half) != torch.half:
        raise NotYet("x in half precision comes back in another; convert the rows to x.dtype")
    return student(x, table)


@exercise(lambda: [(randn(9 - n, n, 6), randn(n + 3, 6)) for n in (5, 6, 4)], run=_added)
def add_positions(x: Tensor, table: Tensor) -> Table:
    """token n of every word gets row n of the table"""
    n, rows = x.shape[1], table[: x.shape[1]].expand_as(x)
    return x + rows, {
        "token n gets row n": [x + table[-n:], x + table[1 : n + 1], x + table[0]],
        "add the rows to x": [x - rows, rows - x, rows[0], rows],
        "convert the rows to x.dtype, not always to half": [x + rows.half(), (x + rows).half()],
    }


@exercise(lambda: [(2, 3, 8), (4, 2, 12), (3, 5, 20)])
def my_grid(height: int, width: int, dim: int) -> Table:
    """half of each encoding is for the row, half for the column"""
    r, c = _cells(height, width)
    row, column, wide = _encoding(r, dim // 2), _encoding(c, dim // 2), _encoding(r, dim)
    alike, right, turned, other = map(torch.hstack, itertools.product((row, column), repeat=2))
    cells = [x.view(height, width, dim).transpose(0, 1).flatten(0, 1) for x in (right, turned)]
    return right, {
        "the row comes first, then the column": [turned, alike, other],
        "list the cells row by row": cells,
        "lay the halves side by side; you add them": [row + column, wide + _encoding(c, dim)],
        "encode row and column, not the number of the cell": _encoding(width * r + c, dim),
    }


@exercise(lambda: [(_encoding(8, 24),), (_encoding(15, 40),), (0.4 * torch.rand(5, 34) ** 3,)])
def my_moving_entries(encodings: Tensor) -> Table:
    """how many entries move by more than 0.2"""
    e, span = encodings, encodings.amax(0) - encodings.amin(0)
    parts = [e[-1] - e[0], e.amax(0), e.abs().amax(0), e.std(0), e.diff(dim=0).abs().amax(0)]
    wrong = [(x > 0.2).sum() for x in (parts[0].abs(), *parts)]
    return int((span > 0.2).sum()), {
        "these are the entries that stay": (span <= 0.2).sum(),
        "take the range over the positions, axis 0": (e.amax(1) - e.amin(1) > 0.2).sum(),
        "a wave can come back; take its largest value minus its smallest": wrong,
        "count entries, not values": [((e - e[0]).abs() > 0.2).sum(), (e > 0.2).sum()],
    }


@exercise(lambda: [(torch.rand(7), 16), (torch.rand(4), 10), (torch.rand(9), 6)], tolerance=1e-3)
def time_code(t: Tensor, dim: int) -> Table:
    """times keep their fractions, and their clocks move"""
    whole = [(1000 * t).floor(), (1000 * t).round(), (1000 * t).ceil(), 1000 * t.round(), 0 * t]
    other = [_encoding(n * t.double(), dim) for n in (1, 10, 100, 1024, 10_000)]
    return _encoding(1000 * t.double(), dim), {
        "t is rounded to a whole number; keep its fraction": [_encoding(x, dim) for x in whole],
        "the unit is wrong; count in thousandths": other,
        "multiply the time, not its encoding": 1000 * _encoding(t, dim),
    }


def _rotated(x: Tensor, z: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.double().view(len(x), -1, 2))
    return torch.view_as_real(pairs * z).flatten(1).float()


@exercise(lambda: [(randn(n, d), 5 * torch.rand(n)) for n, d in ((5, 6), (3, 10), (7, 8))])
def my_rotate(x: Tensor, positions: Tensor) -> Table:
    """every pair of entries turns by the angle of its clock"""
    (a, b), z = x.view(len(x), -1, 2).unbind(-1), _waves(positions, x.shape[1])
    right, far = _rotated(x, z), _rotated(_pairs(*x.chunk(2, -1)), z)
    encoding = _encoding(positions, x.shape[1])
    return right, {
        "this turns the other way; look at the minus": _rotated(x, z.conj()),
        "the pairs are neighbours, 2i and 2i + 1": [far, torch.hstack([far[:, ::2], far[:, 1::2]])],
        "keep each pair together": torch.hstack([right[:, ::2], right[:, 1::2]]),
        "exchange sine and cosine": _rotated(x, z.imag + 1j * z.real),
        "a rotation has one minus": _pairs(a * z.real + b * z.imag, a * z.imag + b * z.real),
        "turn x; you add or multiply the encodings": [x + encoding, x * encoding],
    }


@exercise(lambda: [(_encoding(6000 * torch.rand(n), 8),) for n in (11, 5, 17)])
def read_clocks(encodings: Tensor) -> Table:
    """the slowest clock, read with atan2, gives every position back"""
    sine, cosine = encodings.double()[:, 6:].unbind(1)
    turn, angle, swapped = 2 * math.pi, torch.atan2(sine, cosine), torch.atan2(cosine, sine)
    right, fast = angle % turn * 1000, torch.atan2(*encodings.double()[:, :2].T) % turn
    ratio, turns = (sine / cosine).atan(), (angle, angle % math.pi, angle.abs())
    return right.float(), {
        "take atan2 of both, modulo 2 pi": [angle, *(1000 * x for x in turns)],
        "sine / cosine repeats after half a turn; use atan2": [1000 * ratio, 1000 * (ratio % turn)],
        "exchange the arguments; the sine comes first": swapped % turn * 1000,
        "you read the fastest clock, which turns once in 6.28 positions": [fast, 1000 * fast],
    }


def _dot(apart: float, dim: int, clocks: int = 0) -> float:
    return sum(math.cos(apart * 10_000.0 ** (-2 * i / dim)) for i in range(clocks or dim // 2))


@exercise(lambda: [(2, 1, 8), (0, 3, 16), (3, 5, 24), (4, 0, 40)])
def grid_dot(rows_apart: int, columns_apart: int, dim: int) -> Table:
    """the dot product of two cells, from their distances alone"""
    r, c, half, across = rows_apart, columns_apart, dim // 2, math.hypot(rows_apart, columns_apart)
    mixed = [_dot(apart, width) for apart in (r + c, across) for width in (dim, half)]
    return _dot(r, half) + _dot(c, half), {
        "each axis has half of dim, not all of it": _dot(r, dim) + _dot(c, dim),
        "rows and columns have clocks of their own": mixed,
        "one of the two axes is missing": [_dot(r, half), _dot(c, half)],
        "the exponent is too small": _dot(r, dim, half // 2) + _dot(c, dim, half // 2),
    }


@exercise(lambda: [(2, 3, 4, 12), (4, 2, 3, 18), (3, 5, 2, 24)])
def position_volume(frames: int, height: int, width: int, dim: int) -> Table:
    """every cell of a film has the encoding of its frame, its row and its column"""
    thirds = [_encoding(place, dim // 3) for place in _cells(frames, height, width)]
    film, *mixed = (torch.hstack(order) for order in itertools.permutations(thirds))
    cells = film.view(frames, height, width, dim)
    turned = [cells.movedim(0, 2), cells.transpose(0, 1), cells.transpose(1, 2)]
    return film, {
        "the thirds are added; lay them side by side": sum(thirds),
        "the frame changes slowest, then the row": [other.flatten(0, 2) for other in turned],
        "lay the thirds in the order frame, row, column": mixed,
    }


@exercise(lambda: [(8, 8, (6, 3, 1.5, 2.5, 9, 1.1)), (21, 12, (15, 10, 5, 7)), (99, 24, (60, 43))])
def choose_period(n: int, dim: int, candidates: tuple[float, ...]) -> Table:
    """the slowest clock makes half a turn at most, and is no slower than it needs to be"""
    speeds = {m: m ** (2 / dim - 1) for m in candidates}  # of the slowest clock
    angles = {m: (n - 1) * speed / math.pi for m, speed in speeds.items()}  # in half turns
    slow = [m for m in candidates if angles[m] <= 1]
    return float(min(slow)), {
        "half a turn is pi, not 2 pi": min(m for m in candidates if angles[m] <= 2),
        "there are n - 1 steps, not n": min(m for m in slow if angles[m] <= (n - 1) / n),
        "its speed is not 1 / max_period": min(m for m in candidates if (n - 1) / m <= math.pi),
        "take the smallest that fits; the list is not sorted": [slow[0], slow[-1], max(slow)],
        "with this one the slowest clock makes more than half a turn": min(candidates),
        "return max_period itself": [candidates.index(min(slow)), speeds[min(slow)]],
    }


@exercise(lambda: [(randn(h * w, d), h, w) for h, w, d in ((2, 3, 8), (4, 2, 12), (3, 5, 8))])
def rotate_grid(x: Tensor, height: int, width: int) -> Table:
    """half of the pairs turn by the row, half by the column"""
    d, (r, c) = x.shape[1], _cells(height, width)
    row, column, long_row, long_column = (_waves(p, w) for w in (d // 2, d) for p in (r, c))
    wrong = {
        "the row turns the first half only": [(column, row), (row, row), (column, column)],
        "each half has clocks of its own": [(long_row[:, : d // 4], long_column[:, : d // 4])],
        "turn by row and column, not by the number of the cell": [(_waves(width * r + c, d),)],
        "this turns the other way; look at the minus": [(row.conj(), column.conj())],
    }
    results = {k: [_rotated(x, torch.hstack(z)) for z in waves] for k, waves in wrong.items()}  # type: ignore[attr-defined]
    added = torch.hstack([_encoding(r, d // 2), _encoding(c, d // 2)])
    results["turn x instead of adding the encodings"] = [x + added]
    return _rotated(x, torch.hstack([row, column])), results


@exercise(lambda: [(s, torch.eye(d) + randn(d, d) / 9) for s, d in ((2, 6), (3, 10), (5, 8))])
def look_back(steps: int, w_k: Tensor) -> Table:
    """together the two projections are a rotation, whatever w_k is"""
    back, w = _turn(-steps, len(w_k)), w_k.double()
    undo = torch.linalg.inv(w)
    return (undo.T @ back).float(), {
        "this looks to the right; turn the query backwards": undo.T @ back.T,
        "the scores hold w_q.T, so the inverse of w_k has to be transposed": undo @ back,
        "exchange the factors: turn first, then undo w_k": [back @ undo.T, back @ undo],
        "undo w_k; do not repeat or ignore it": [w @ back, w.T @ back, back @ w, w, back, back.T],
        "the rotation is missing, so this looks at its own position": [undo.T, undo],
    }
