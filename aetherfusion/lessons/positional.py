"""The checks of lesson 01, "Positional encoding".

Each compares a student's function with complex exponentials or plain numbers, never with the
package's own sinusoid, and says in words which of the usual mistakes was made.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import near, run_check, unlike


def read_clocks(function: Callable[..., Any]) -> None:
    """Exercise 1: `read_clocks(code)`: codes (N, 8) of positions in [0, 6000) to positions (N,).

    The slowest of the four clocks does not finish a turn in that range: its hand tells it all.
    """
    positions = torch.tensor([0.0, 1.0, 5.5, 63.0, 710.0, 2500.0, 3500.0, 5900.0])
    code = _code(positions, 8).float()

    def judge(answer: Any) -> str | None:
        wrong = unlike(answer, (8,))
        if wrong:
            return wrong
        slow = 0.001 * positions.double()
        signed = torch.atan2(slow.sin(), slow.cos())
        if near(answer, positions, 0.5):
            return None
        if near(answer, 1000 * signed, 0.5):
            return (
                "the second half of the turn comes out negative; atan2 answers in (-pi, pi], "
                "so take the angle modulo 2 pi"
            )
        swapped = torch.atan2(slow.cos(), slow.sin())
        if near(answer, 1000 * swapped, 0.5) or near(answer, 1000 * (swapped % TURN), 0.5):
            return "sine and cosine are swapped; the sine comes first: atan2(sine, cosine)"
        if near(answer, slow, 1e-3) or near(answer, signed, 1e-3):
            return "this is the angle of the hand; divide it by the clock's frequency"
        if near(answer, positions.double() % TURN, 1e-2):
            return "you read the fastest clock, which goes round every 6.28 positions"
        worst = int((answer.double() - positions).abs().argmax())
        return f"position {float(positions[worst]):g} came out as {float(answer[worst]):.2f}"

    run_check(
        "the slowest hand, read with atan2, gives every position back",
        lambda: function(code.clone()),
        judge,
    )


def grid_dot(function: Callable[..., Any]) -> None:
    """Exercise 2: `grid_dot(rows_apart, columns_apart, dim)`: a number, from the distances alone.

    It is the dot product of the codes of two cells of a grid of width `dim`.
    """
    cases = [(0, 0, 8), (2, 0, 8), (0, 3, 16), (3, 5, 64)]

    def expected(rows: float, columns: float, dim: int) -> float:
        return _dot(rows, dim // 2) + _dot(columns, dim // 2)

    def judge(answer: Any) -> str | None:
        if any(a is None for a in answer):
            return "your function returned None for some distances"
        numbers = [float(a) for a in answer]

        def all_are(rule: Callable[[int, int, int], float]) -> bool:
            return all(abs(n - rule(*c)) < 1e-3 for n, c in zip(numbers, cases, strict=True))

        if all_are(expected):
            return None
        if all_are(lambda r, c, dim: _dot(r, dim) + _dot(c, dim)):
            return "you gave each axis clocks for all of dim; each has only dim / 2 numbers"
        if all_are(lambda r, c, dim: _dot(math.hypot(r, c), dim)) or all_are(
            lambda r, c, dim: 2 * _dot(math.hypot(r, c), dim // 2)
        ):
            return "you measured straight across; rows and columns have clocks of their own"
        if all_are(lambda r, c, dim: _dot(r + c, dim)):
            return "you added the two distances; add the two dot products instead"
        if all_are(lambda r, c, dim: _dot(r, dim // 2)):
            return "only the rows are there; add the same sum for the columns"
        if all_are(lambda r, c, dim: _dot_of_half(r, dim) + _dot_of_half(c, dim)):
            return "the exponent has dim in it; the code of an axis is dim // 2 wide, so use that"
        if all_are(lambda r, c, dim: expected(r, c, dim) / dim) or all_are(
            lambda r, c, dim: expected(r, c, dim) / (dim // 2)
        ):
            return "this is a mean over the clocks; a dot product is a sum"
        if all_are(lambda r, c, dim: _dot(r, dim // 2) * _dot(c, dim // 2)):
            return "you multiplied the two axes; their codes lie side by side, so the dots add"
        errors = [abs(n - expected(*case)) for n, case in zip(numbers, cases, strict=True)]
        worst = max(range(len(cases)), key=errors.__getitem__)
        rows, columns, dim = cases[worst]
        return (
            f"for {rows} rows and {columns} columns apart and dim {dim} "
            f"you say {numbers[worst]:.3f}, and it is {expected(*cases[worst]):.3f}"
        )

    def student() -> Any:
        answer = [function(*case) for case in cases]
        return None if all(a is None for a in answer) else answer

    run_check("the dot product of two cells, from their distances alone", student, judge)


def position_volume(function: Callable[..., Any]) -> None:
    """Exercise 3: `position_volume(frames, height, width, dim)`: codes of the cells of a film.

    (frames * height * width, dim), frame by frame, row by row; a third of `dim` for each axis.
    """
    frames, height, width, dim = 2, 3, 4, 12

    def build(order: tuple[int, int, int], thirds: tuple[int, int, int]) -> Tensor:
        axes = [torch.arange(n) for n in (frames, height, width)]
        grids = torch.meshgrid(*axes, indexing="ij")
        parts = [_code(grids[axis], dim // 3) for axis in thirds]
        return torch.cat(parts, dim=-1).permute(*order, 3).reshape(-1, dim)

    right = build((0, 1, 2), (0, 1, 2))

    def judge(answer: Any) -> str | None:
        if isinstance(answer, Tensor) and answer.shape == (frames, height, width, dim):
            return "the values have four axes; flatten frames, rows and columns into one"
        if isinstance(answer, Tensor) and answer.shape == (len(right), dim // 3):
            return "the three thirds were added; lay them side by side with torch.cat"
        wrong = unlike(answer, tuple(right.shape))
        if wrong:
            return wrong
        if near(answer, right, 1e-4):
            return None
        if near(answer, build((1, 2, 0), (0, 1, 2)), 1e-4):
            return "the frame counts fastest; all cells of frame 0 come first, then frame 1"
        if near(answer, build((1, 0, 2), (0, 1, 2)), 1e-4):
            return "rows come before frames; does meshgrid say indexing='ij'?"
        if near(answer, build((0, 2, 1), (0, 1, 2)), 1e-4):
            return "you go down the columns; go through each frame row by row"
        for thirds in [(1, 2, 0), (0, 2, 1), (2, 1, 0), (1, 0, 2), (2, 0, 1)]:
            if near(answer, build((0, 1, 2), thirds), 1e-4):
                return "the thirds are in another order; frame first, then row, then column"
        for third, name in enumerate(["frame", "row", "column"]):
            place = slice(third * dim // 3, (third + 1) * dim // 3)
            if not near(answer[:, place], right[:, place], 1e-4):
                return f"the third that says the {name} is not the code of the {name}"
        return None

    run_check(
        "every cell of a film has the code of its frame, its row and its column",
        lambda: function(frames, height, width, dim),
        judge,
    )


def time_code(function: Callable[..., Any]) -> None:
    """Exercise 4: `time_code(t, dim)`: times (B,) in [0, 1] to (B, dim), in thousandths.

    Near times must have near, but different, codes: also those within one thousandth.
    """
    t = torch.tensor([0.0, 0.0004, 0.25, 0.5, 0.5007, 0.999, 1.0])
    dim = 16

    def judge(answer: Any) -> str | None:
        wrong = unlike(answer, (len(t), dim))
        if wrong:
            return wrong
        thousandths = 1000 * t.double()
        if near(answer, _code(thousandths, dim), 2e-3):
            return None
        if near(answer, _code(1000 * t.long(), dim), 2e-3):
            return "every time below 1 has the code of 0: `long` cuts t off before it is multiplied"
        if near(answer, _code(t, dim), 2e-3):
            return "the hands hardly move between 0 and 1; count thousandths: 1000 * t"
        whole = [thousandths.floor(), thousandths.round(), (1000 * t).floor(), (1000 * t).round()]
        if any(near(answer, _code(w, dim), 2e-3) for w in whole):
            return (
                "t = 0.5000 and t = 0.5007 are told apart by whole thousandths only; "
                "keep the fraction: the clocks can be read between two ticks"
            )
        return "the codes are not those of sinusoid(1000 * t, dim)"

    run_check("times keep their fractions, and their clocks move", lambda: function(t, dim), judge)


TURN = 2 * math.pi


def _code(positions: Tensor, dim: int) -> Tensor:
    """The closed form by complex exponentials, in float64: (...) to (..., dim)."""
    i = torch.arange(dim // 2, dtype=torch.float64)
    z = torch.exp(1j * positions.double()[..., None] * 10_000.0 ** (-2 * i / dim))
    return torch.stack([z.imag, z.real], dim=-1).flatten(-2)


def _dot(apart: float, dim: int) -> float:
    """The dot product of two codes that are `apart` positions from each other."""
    return sum(math.cos(apart * 10_000.0 ** (-2 * i / dim)) for i in range(dim // 2))


def _dot_of_half(apart: float, dim: int) -> float:
    """What comes out with the right number of clocks for an axis, but the exponents of all dim."""
    return sum(math.cos(apart * 10_000.0 ** (-2 * i / dim)) for i in range(dim // 4))
