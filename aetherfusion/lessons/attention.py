"""The checks of lesson 02, against torch's own attention and arithmetic on paper."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import Table, exercise


@exercise(lambda: [torch.randn(3, *shape) for shape in ((2, 3, 5, 6), (1, 2, 7, 3), (3, 4, 2, 8))])
def my_attention(q: Tensor, k: Tensor, v: Tensor) -> Table:
    """your attention equals torch's scaled_dot_product_attention"""
    (tokens, d), scores, root = q.shape[-2:], q @ k.mT, q.shape[-1] ** 0.5
    scaled = [(factor * scores).softmax(-1) @ v for factor in (1, 1 / d, tokens**-0.5, root)]
    return F.scaled_dot_product_attention(q, k, v), {
        "divide the scores by sqrt(d), where d is the width of a head": scaled,
        "the softmax takes the wrong axis": [(scores / root).softmax(i) @ v for i in range(3)],
        "the softmax is missing; the weights should sum to 1": [scores / root @ v, scores @ v],
        "queries and keys are exchanged": (scores / root).mT.softmax(-1) @ v,
        "these are the weights; multiply them by the values": (scores / root).softmax(-1),
    }


@exercise(lambda: [()], tolerance=0.01)
def my_predictions() -> Table:
    """all four predictions hold"""
    sums = (1.0986, 3.0, 1.0, 0.5, 0.25)
    return {"(a)": 1 / 4, "(b)": 3 / 4, "(c)": 16.0, "(d)": 4.0}, {
        "the four weights are equal and sum to 1": [{"(a)": 1.0}, {"(a)": 0.0}],
        "divide exp of the second logit by the sum of both exp": [{"(b)": b} for b in sums],
        "count pairs of tokens; a map has an entry for each": [{"(c)": n} for n in (2.0, 4.0, 8.0)],
        "each entry has a spread of 1; divide q . k by sqrt(d)": [{"(d)": 16.0}, {"(d)": 1.0}],
    }


@exercise(lambda: [(*torch.randn(3, 2, r, 5 + r, 8 - r), r) for r in (2, 1, 3)])
def my_local_attention(q: Tensor, k: Tensor, v: Tensor, radius: int) -> Table:
    """your tokens listen to their neighbours and to nobody else"""
    step = torch.arange(q.shape[-2])[:, None] - torch.arange(q.shape[-2])
    apart, scores = step.abs(), q @ k.mT / q.shape[-1] ** 0.5

    def to(keep: Tensor, fill: float = -torch.inf, scale: float = 1) -> Tensor:
        return (scale * scores).masked_fill(~keep, fill).softmax(-1) @ v

    one_side = [step <= radius, step >= -radius, abs(step - radius / 2) <= radius / 2]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=apart <= radius), {
        "the mask has no effect": to(apart >= 0),
        "a score of 0 has the weight exp(0) = 1; fill with -inf": to(apart <= radius, 0.0),
        "the rows do not sum to 1; mask first": scores.softmax(-1) * (apart <= radius) @ v,
        "the last neighbour has |i - j| = radius": [to(apart < radius), to(apart <= radius + 1)],
        "the two sides are not alike; use abs(i - j)": [to(keep) for keep in one_side],
        "the mask is inverted": to(apart > radius),
        "divide the scores by sqrt(d)": to(apart <= radius, scale=q.shape[-1] ** 0.5),
    }


@exercise(lambda: [torch.randn(1, *shape) for shape in ((2, 3, 5, 6), (3, 2, 4, 7), (1, 4, 2, 3))])
def my_merge(mixed: Tensor) -> Table:
    """every token keeps its own answers, one head after the other"""
    right = torch.cat(list(mixed.unbind(1)), dim=-1)  # (B, N, heads * d)
    return right, {
        "reshape alone mixes tokens; move the axis of the heads first": mixed.reshape(right.shape),
        "the heads are interleaved; keep each one together": mixed.permute(0, 2, 3, 1).flatten(2),
        "the heads are added or averaged; lay them side by side": [mixed.mean(1), mixed.sum(1)],
        "you exchanged heads and width, not heads and tokens": mixed.transpose(1, 3).flatten(2),
    }
