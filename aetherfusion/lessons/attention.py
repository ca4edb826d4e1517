"""The checks of lesson 02's exercises: they compare with something independent and say what is off.

Owns: `my_attention`, `my_predictions`, `my_local_attention` and `my_merge`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import compared, run_check

#: Wrong numbers that people give, and what to say to them.
Mistakes = dict[float, str]


def my_attention(function: Callable[..., Any]) -> None:
    """Attention by matrices: q, k, v, each (B, heads, N, d), to (B, heads, N, d).

    The student's function shall return softmax(q k^T / sqrt(d)) v, every row of the softmax
    summing to 1.
    """
    q, k, v = _queries_keys_values(2, 3, 5, 4)
    logits = q @ k.mT
    d = q.shape[-1]
    weights = (logits / math.sqrt(d)).softmax(-1)
    wrongs = {
        "the scale is missing; divide the logits by sqrt(d) before the softmax": (
            logits.softmax(-1) @ v
        ),
        "you divided by d; the spread of a dot product grows with sqrt(d), so divide by that": (
            (logits / d).softmax(-1) @ v
        ),
        "you divided by the square root of N, the number of tokens; d is the width of one head": (
            (logits / math.sqrt(q.shape[-2])).softmax(-1) @ v
        ),
        "you multiplied by sqrt(d); divide by it": (logits * math.sqrt(d)).softmax(-1) @ v,
        "your weights sum to 1 over the columns; normalise over the last axis": (
            (logits / math.sqrt(d)).softmax(-2) @ v
        ),
        "your weights sum to 1 over the heads; normalise over the last axis": (
            (logits / math.sqrt(d)).softmax(1) @ v
        ),
        "your weights do not sum to 1; the softmax is missing": logits / math.sqrt(d) @ v,
        "queries and keys are swapped; row i belongs to the one who asks, query i": (
            (k @ q.mT / math.sqrt(d)).softmax(-1) @ v
        ),
        "you divided after the softmax; divide the logits before it": (
            logits.softmax(-1) / math.sqrt(d) @ v
        ),
        "these are the weights; take the weighted mean of the values with them: weights @ v": (
            weights
        ),
    }
    expected = F.scaled_dot_product_attention(q, k, v)
    run_check(
        "your attention equals torch's scaled_dot_product_attention",
        lambda: function(q.clone(), k.clone(), v.clone()),
        lambda answer: compared(answer, expected, wrongs),
    )


def my_predictions(function: Callable[..., Any]) -> None:
    """Four numbers, foreseen before anything runs: a list [a, b, c, d].

    a. N = 4 tokens with equal keys: the weight of each.
    b. A row of two logits, 0 and ln 3: the second weight.
    c. A grid of 8x8 cells becomes 16x16: the factor by which the entries of a map grow.
    d. One head of width 16 with QK-norm: the largest logit that there can be.
    """
    keys = torch.randn(1, 5, generator=torch.Generator().manual_seed(0)).expand(4, 5)
    a = float((torch.randn(5, generator=torch.Generator().manual_seed(1)) @ keys.T).softmax(0)[0])
    b = float(torch.tensor([0.0, math.log(3)]).softmax(0)[1])
    c = torch.empty(256, 256).numel() / torch.empty(64, 64).numel()
    head = F.layer_norm(torch.arange(16.0), (16,))
    d = float(head @ head / math.sqrt(16))
    questions: dict[str, tuple[float, Mistakes]] = {
        "a": (
            a,
            {
                1.0: "the weights of a row sum to 1, and four equal ones share that",
                0.0: "equal keys give equal logits, and the softmax of equal logits is not zero",
            },
        ),
        "b": (
            b,
            {
                round(math.log(3), 4): "that is the logit; exp of it, over the sum of both exps",
                3.0: "that is exp of the logit; now divide by the sum of both exps",
                1.0: "a logit of 0 is no silence: its exp is 1, and counts in the sum",
                0.5: "the logits differ, and so do the weights; exp(ln 3) over both exps",
                0.25: "that is the weight of the first one",
            },
        ),
        "c": (
            c,
            {
                4.0: "that is how the number of tokens grows; a map has N x N entries",
                2.0: "that is how the side grows; count the tokens, then square that",
                8.0: "count again: the tokens grow by 4, and a map has N x N entries",
            },
        ),
        "d": (
            d,
            {
                16.0: "that is q . k, with both of length sqrt(16); then comes the scale",
                1.0: "layer_norm gives each entry a spread of 1, so the length is sqrt(d), not 1",
            },
        ),
    }

    def judge(answer: Any) -> str | None:
        if not isinstance(answer, (list, tuple)) or len(answer) != len(questions):
            return f"return a list of {len(questions)} numbers, [a, b, c, d]"
        off = []
        for (name, (right, mistakes)), given in zip(questions.items(), answer, strict=True):
            if given is None:
                off.append(f"({name}) is still open")
            elif abs(float(given) - right) > 0.01:
                hints = (text for value, text in mistakes.items() if abs(given - value) < 0.01)
                off.append(f"({name}) {next(hints, f'is not {given}')}")
        return "; ".join(off) or None

    def student() -> Any:
        answer = function()
        untouched = isinstance(answer, (list, tuple)) and all(given is None for given in answer)
        return None if untouched else answer

    run_check("all four predictions hold", student, judge)


def my_local_attention(function: Callable[..., Any]) -> None:
    """Attention to neighbours only: (q, k, v, radius) to (B, heads, N, d).

    Token i shall listen to the tokens j with |i - j| <= radius, and its weights shall sum to 1.
    """
    radius = 2
    q, k, v = _queries_keys_values(2, 2, 7, 4)
    places = torch.arange(7)
    apart = (places[:, None] - places[None]).abs()
    allowed = apart <= radius
    logits = q @ k.mT / math.sqrt(q.shape[-1])

    def masked(keep: Tensor) -> Tensor:
        return logits.masked_fill(~keep, -torch.inf).softmax(-1) @ v

    wrongs = {
        "every token still listens to all of them; the mask has no effect": logits.softmax(-1) @ v,
        "a logit of 0 is no silence, for exp(0) = 1; fill with minus infinity": (
            logits.masked_fill(~allowed, 0.0).softmax(-1) @ v
        ),
        "your rows no longer sum to 1: you masked after the softmax; mask the logits before it": (
            logits.softmax(-1) * allowed @ v
        ),
        "the neighbours at exactly `radius` are missing; use <=": masked(apart < radius),
        "you listen one too far; the distance may be `radius` at most": masked(apart <= radius + 1),
        "your tokens listen to one side only; take the absolute value of i - j": (
            masked(places[:, None] - places[None] <= radius)
        ),
        "your tokens listen to one side alone; take the absolute value of i - j": (
            masked(places[None] - places[:, None] <= radius)
        ),
        "the mask is inverted: the far ones are heard and the near ones silent": masked(
            apart > radius
        ),
        "the scale is missing; divide the logits by sqrt(d)": (
            (q @ k.mT).masked_fill(~allowed, -torch.inf).softmax(-1) @ v
        ),
    }
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    run_check(
        "your tokens listen to their neighbours and to nobody else",
        lambda: function(q.clone(), k.clone(), v.clone(), radius),
        lambda answer: compared(answer, expected, wrongs),
    )


def my_merge(function: Callable[..., Any]) -> None:
    """The heads' answers side by side: (B, heads, N, d) to (B, N, heads * d)."""
    mixed = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(3))
    expected = torch.cat(list(mixed.unbind(1)), dim=-1)  # (B, N, heads * d)
    wrongs = {
        "this still reshapes in memory order, which gives one token the answers of others; move "
        "the axis of the tokens before that of the heads first": mixed.reshape(2, 5, 12),
        "each token has its own entries, but those of the heads are interleaved; keep the d "
        "entries of one head together": mixed.permute(0, 2, 3, 1).flatten(2),
        "the tokens are right, and the heads come in reversed order": (
            mixed.flip(1).transpose(1, 2).flatten(2)
        ),
        "you took the mean over the heads; lay them side by side": mixed.mean(1),
        "you added the heads up; lay them side by side": mixed.sum(1),
        "the heads still have an axis of their own; flatten the last two": mixed.transpose(1, 2),
        "you swapped the width and the heads; swap the axes 1 and 2, heads and tokens": (
            mixed.transpose(1, 3).flatten(2)
        ),
    }
    run_check(
        "every token keeps its own answers, one head after the other",
        lambda: function(mixed.clone()),
        lambda answer: compared(answer, expected, wrongs),
    )


def _queries_keys_values(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    q, k, v = (1.5 * torch.randn(3, *shape, generator=generator)).unbind()
    return q, k, v
