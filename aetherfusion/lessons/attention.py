"""The checks of lesson 02, against torch's own attention and arithmetic on paper."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from . import Table, draws, exercise


@exercise(lambda: [draws(3, 2, 3, 5, 6), draws(3, 1, 2, 7, 3), draws(3, 3, 4, 2, 8)])
def my_attention(q: Tensor, k: Tensor, v: Tensor) -> Table:
    """your attention equals torch's scaled_dot_product_attention"""
    (tokens, d), scores, root = q.shape[-2:], q @ k.mT, math.sqrt(q.shape[-1])
    return F.scaled_dot_product_attention(q, k, v), {
        "the scale is missing; divide the scores by sqrt(d)": scores.softmax(-1) @ v,
        "you divided by d; divide by its square root": (scores / d).softmax(-1) @ v,
        "you divided by sqrt(N); d is the width of a head": (scores / tokens**0.5).softmax(-1) @ v,
        "you multiplied by sqrt(d); divide by it": (scores * root).softmax(-1) @ v,
        "the softmax takes the wrong axis": [(scores / root).softmax(i) @ v for i in range(3)],
        "the softmax is missing; the weights should sum to 1": [scores / root @ v, scores @ v],
        "queries and keys are exchanged": (scores / root).mT.softmax(-1) @ v,
        "these are the weights; multiply them by the values": (scores / root).softmax(-1),
    }


@exercise(lambda: [()], tolerance=0.01)
def my_predictions() -> Table:
    """all four predictions hold"""
    (query, key), head = draws(2, 5), F.layer_norm(torch.arange(16.0), (16,))
    a, b = (key.expand(4, 5) @ query).softmax(0)[0], torch.tensor([0, math.log(3)]).softmax(0)[1]
    c, d = (16 * 16 / (8 * 8)) ** 2, head @ head / math.sqrt(16)
    return {"(a)": float(a), "(b)": float(b), "(c)": c, "(d)": float(d)}, {
        "the four weights are equal and sum to 1": [{"(a)": 1.0}, {"(a)": 0.0}],
        "take exp of both logits and divide by their sum": [{"(b)": math.log(3)}, {"(b)": 3.0}],
        "a logit of 0 counts with the weight exp(0) = 1": {"(b)": 1.0},
        "the logits differ, and so do the weights": {"(b)": 0.5},
        "that is the weight of the first one": {"(b)": 0.25},
        "count pairs of tokens; a map has an entry for each": [{"(c)": n} for n in (2.0, 4.0, 8.0)],
        "that is q . k before the scale": {"(d)": 16.0},
        "each entry has a spread of 1, and so a length of sqrt(d)": {"(d)": 1.0},
    }


@exercise(lambda: [(*draws(3, 2, 2, n, d), r) for n, d, r in ((7, 6, 2), (9, 5, 1), (8, 3, 3))])
def my_local_attention(q: Tensor, k: Tensor, v: Tensor, radius: int) -> Table:
    """your tokens listen to their neighbours and to nobody else"""
    step = torch.arange(q.shape[-2])[:, None] - torch.arange(q.shape[-2])
    apart, allowed, root = step.abs(), step.abs() <= radius, math.sqrt(q.shape[-1])

    def to(keep: Tensor, fill: float = -torch.inf, scores: Tensor = q @ k.mT / root) -> Tensor:
        return scores.masked_fill(~keep, fill).softmax(-1) @ v

    late = (q @ k.mT / root).softmax(-1) * allowed @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed), {
        "the mask has no effect": to(apart >= 0),
        "a score of 0 has the weight exp(0) = 1; fill with -inf": to(allowed, 0.0),
        "your rows do not sum to 1; mask before the softmax": late,
        "the neighbours at distance `radius` are missing": to(apart < radius),
        "you attend one token too far": to(apart <= radius + 1),
        "all tokens on one side are there; use abs(i - j)": [
            to(s <= radius) for s in (step, -step)
        ],
        "one side is missing; use abs(i - j)": [to(allowed & (s >= 0)) for s in (step, -step)],
        "the mask is inverted": to(~allowed),
        "the token itself is missing": to(allowed & (apart > 0)),
        "the scale is missing; divide the scores by sqrt(d)": to(allowed, scores=q @ k.mT),
    }


@exercise(lambda: [draws(1, 2, 3, 5, 6), draws(1, 3, 2, 4, 7), draws(1, 1, 4, 2, 3)])
def my_merge(mixed: Tensor) -> Table:
    """every token keeps its own answers, one head after the other"""
    right = torch.cat(list(mixed.unbind(1)), dim=-1)  # (B, N, heads * d)
    return right, {
        "reshape alone mixes tokens; move the axis of the heads first": mixed.reshape(right.shape),
        "the heads are interleaved; keep each one together": mixed.permute(0, 2, 3, 1).flatten(2),
        "the heads come in reversed order": mixed.flip(1).transpose(1, 2).flatten(2),
        "the heads are added or averaged; lay them side by side": [mixed.mean(1), mixed.sum(1)],
        "you exchanged heads and width, not heads and tokens": mixed.transpose(1, 3).flatten(2),
    }
