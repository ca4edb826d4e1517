"""The checks of lesson 03's exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import run_check, unlike


def fold_pixels(function: Callable[..., Any]) -> None:
    """`function(x)`: (B, channels, H, W) to (B, 4 channels, H / 2, W / 2), nothing lost."""
    x = _some(2, 3, 6, 10)
    expected = F.pixel_unshuffle(x, 2)

    def judge(answer: Any) -> str | None:
        if wrong := unlike(answer, expected.shape, expected.dtype):
            return wrong
        if torch.equal(answer, expected):
            return None
        if torch.equal(answer, x.reshape(expected.shape)):
            return "a reshape alone moves no number; permute the six axes before you join them"
        squares = x.reshape(2, 3, 3, 2, 5, 2)  # (B, channels, H / 2, 2, W / 2, 2)
        if torch.equal(answer, squares.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)):
            return "your channels change fastest; all four numbers of the first channel come first"
        if torch.equal(answer, squares.permute(0, 1, 5, 3, 2, 4).flatten(1, 3)):
            return "you read each square column by column; read it row by row"
        if torch.equal(answer.flatten().sort().values, x.flatten().sort().values):
            return "all numbers are there, but not in torch's order"
        return "some numbers of x are missing; folding keeps every one of them"

    run_check("folding by hand equals F.pixel_unshuffle", lambda: function(x), judge)


def pixels_seen(function: Callable[..., Any]) -> None:
    """`function(before, after)`: the width of the receptive field, see `_measured_width`."""
    cases = [(0, 0), (1, 0), (0, 1), (2, 1), (1, 3), (3, 2)]

    def student() -> list[Any] | None:
        answers = [function(before, after) for before, after in cases]
        return None if all(answer is None for answer in answers) else answers

    def judge(answers: list[Any]) -> str | None:
        def all_are(formula: Callable[[int, int], int]) -> bool:
            return answers == [formula(before, after) for before, after in cases]

        if all_are(lambda b, a: 1 + 2 * (b + a)):
            return "you counted as if nothing were halved; a cell at half size is two pixels wide"
        if all_are(lambda b, a: 1 + 2 * b + 4 * a):
            return "you left out that Downsample itself sees a square of 2, not one pixel"
        if all_are(lambda b, a: 2 * (1 + 2 * a + 2 * b)):
            return "you doubled all; the convolutions before the halving count single pixels"
        if all_are(lambda b, a: (2 + 4 * a + 2 * b) ** 2):
            return "you gave the number of pixels in the square; its width is asked for"
        for answer, (before, after) in zip(answers, cases, strict=True):
            measured = _measured_width(before, after)
            if answer != measured:
                return (
                    f"for before={before}, after={after} you say {answer!r}; the gradient is not "
                    f"zero on {measured} pixels in a row"
                )
        return None

    run_check("your widths are those that the gradient measures", student, judge)


def tokens_to_map(function: Callable[..., Any]) -> None:
    """`function(tokens, height, width)`: (B, N, D) to (B, D, height, width)."""
    height, width = 3, 5
    expected = _some(2, 4, height, width)  # (B, D, height, width)
    tokens = expected.flatten(2).transpose(1, 2)  # (B, N, D)

    def judge(answer: Any) -> str | None:
        if isinstance(answer, Tensor) and answer.shape == (2, height, width, 4):
            return "the channels are last; a map has them before height and width"
        if wrong := unlike(answer, expected.shape, expected.dtype):
            return wrong
        if torch.equal(answer, expected):
            return None
        if torch.equal(answer, tokens.reshape(expected.shape)):
            return "the numbers of one token are spread over many cells; move an axis first"
        if torch.equal(answer, tokens.transpose(1, 2).unflatten(2, (width, height)).mT):
            return "you filled the map column by column; token n stands in row n // width"
        return "the tokens are not where they belong: token n in row n // width, column n % width"

    run_check(
        "every token is back in its cell", lambda: function(tokens.clone(), height, width), judge
    )


def gated_update(function: Callable[..., Any]) -> None:
    """`function(x, h, steering)`: x + gate * (h * (1 + scale) + shift)."""
    x, h, steering = _some(2, 3, 4, 5), _some(2, 3, 4, 5, seed=1), _some(2, 9, seed=2)

    def update(scale: Tensor, shift: Tensor, gate: Tensor, one: float = 1.0) -> Tensor:
        return x + gate * (h * (one + scale) + shift)

    scale, shift, gate = steering[:, :, None, None].chunk(3, dim=1)
    expected = update(scale, shift, gate)

    def judge(answer: Any) -> str | None:
        if wrong := unlike(answer, expected.shape, expected.dtype):
            return wrong

        def is_like(other: Tensor) -> bool:
            return torch.allclose(answer, other, atol=1e-5)

        if is_like(expected):
            return None
        if is_like(x):
            return "you return x as it came; the gated update is still to be added"
        if is_like(update(scale, shift, gate, one=0.0)):
            return "a scale of zero must leave h as it is: multiply with 1 + scale"
        if is_like(update(scale, shift, torch.ones_like(gate))):
            return "the gate is missing: it decides how much of the update is added"
        if is_like(expected - x):
            return "x is missing: the update is added to it"
        if is_like(update(scale, shift, 1 + gate)):
            return "a gate of zero must close: multiply with the gate, not with 1 + gate"
        if is_like(update(shift, scale, gate)) or is_like(update(gate, scale, shift)):
            return "scale, shift and gate are mixed up: they come in this order"
        if is_like(gate * (x + h * (1 + scale) + shift)):
            return "the gate closes x too; only the update is gated"
        return "the numbers differ from x + gate * (h * (1 + scale) + shift)"

    run_check(
        "a block with a gate; with steering at zero it is the identity",
        lambda: function(x.clone(), h.clone(), steering.clone()),
        judge,
    )


def _some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _measured_width(before: int, after: int) -> int:
    """On how many pixels in a row the gradient of one output pixel is not zero."""
    with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers stay as they are
        layers: list[nn.Module] = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(before)]
        layers.append(nn.Conv2d(1, 1, 2, stride=2))
        layers += [nn.Conv2d(1, 1, 3, padding=1) for _ in range(after)]
    network = nn.Sequential(*layers).double()
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    x = torch.ones(1, 1, 48, 48, dtype=torch.float64, requires_grad=True)
    network(x)[0, 0, 12, 12].backward()
    assert x.grad is not None
    return int((x.grad[0, 0].abs().sum(0) > 0).sum())
