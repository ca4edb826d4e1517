"""The checks of lesson 02, against torch's own attention and arithmetic on paper."""

from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, randn

from ..attention import TransformerBlock
from . import Table, exercise

SIZE = (5, 7), (6, 3), (8, 10)  # of N or B, and of D or d


@exercise(lambda: [(randn(d), randn(n, d), randn(n, 4)) for n, d in SIZE])
def my_output(query: Tensor, keys: Tensor, values: Tensor) -> Table:
    """the output of one token is a weighted mean of the values"""
    raw, root = keys @ query, len(query) ** 0.5
    weights, factors = (raw / root).softmax(0), (1, root**-2, len(keys) ** -0.5, root)
    return weights @ values, {
        "divide the scores by sqrt(d)": [(c * raw).softmax(0) @ values for c in factors],
        "divide by the sum of the exponentials": (raw / root).exp() @ values,
        "take exp of each score": [raw / raw.sum() @ values, raw / root @ values, raw @ values],
        "these are the weights; multiply the values by them": weights,
        "add up all the products; this is the last one": weights[-1] * values[-1],
    }


@exercise(lambda: [randn(3, *shape) for shape in ((2, 3, 5, 6), (1, 2, 7, 3), (3, 4, 2, 8))])
def my_attention(q: Tensor, k: Tensor, v: Tensor) -> Table:
    """your attention equals torch's scaled_dot_product_attention"""
    (tokens, d), scores, root = q.shape[-2:], q @ k.mT, q.shape[-1] ** 0.5
    scaled = [(factor * scores).softmax(-1) @ v for factor in (1, 1 / d, tokens**-0.5, root)]
    return F.scaled_dot_product_attention(q, k, v), {
        "divide the scores by sqrt(d), where d is the width of a head": scaled,
        "the softmax takes the wrong axis": [(scores / root).softmax(i) @ v for i in range(3)],
        "the softmax is missing; the weights should sum to 1": [scores / root @ v, scores @ v],
        "queries and keys are exchanged": (scores / root).mT.softmax(-1) @ v,
    }


@exercise(lambda: [(randn(2, 5, 6), 2), (randn(3, 4, 15), 3), (randn(1, 6, 8), 4)])
def my_split(part: Tensor, num_heads: int) -> Table:
    """each head has its own entries of every token"""
    right, cut = torch.stack(part.chunk(num_heads, -1), 1), part.unflatten(-1, (num_heads, -1))
    return right, {
        "reshape alone mixes tokens; cut the last axis first": part.reshape(right.shape),
        "cut off num_heads pieces of d entries": part.unflatten(-1, (-1, num_heads)).movedim(-1, 1),
        "tokens and entries are exchanged": [right.mT, cut.transpose(1, 3)],
    }


@exercise(lambda: [randn(1, *shape) for shape in ((2, 3, 5, 6), (3, 2, 4, 7), (1, 4, 2, 3))])
def my_merge(mixed: Tensor) -> Table:
    """every token keeps its own outputs, one head after the other"""
    right = torch.cat(list(mixed.unbind(1)), dim=-1)  # (B, N, heads * d)
    return right, {
        "reshape alone mixes tokens; move the axis of the heads first": mixed.reshape(right.shape),
        "the heads are interleaved; keep each one together": mixed.permute(0, 2, 3, 1).flatten(2),
        "the heads are added or averaged; lay them side by side": [mixed.mean(1), mixed.sum(1)],
    }


@exercise(lambda: [30 * randn(1, 2, 3, n, d) for n, d in SIZE], tolerance=1e-3)
def my_qk_norm(q: Tensor) -> Table:
    """every query has the mean 0 and the length sqrt(d)"""
    off, root = q - q.mean(-1, keepdim=True), q.shape[-1] ** 0.5
    spread = off.square().mean(-1, keepdim=True).sqrt()
    others = [(q - q.mean(i, True)) / q.std(i, u, True) for i in (0, 1, 2) for u in (True, False)]
    return off / spread, {
        "subtract the mean first": [q / spread, q / q.norm(dim=-1, keepdim=True) * root],
        "divide the sum of the squares by d, not by d - 1": off / q.std(-1, keepdim=True),
        "divide by the spread, which is the root of the variance": [off, off / spread**2],
        "normalise along the last axis": others,
    }


@exercise(lambda: [(layer, randn(2, n, 3), torch.arange(n).roll(2)) for n, layer in (
                   (6, lambda x: x.cumsum(1)), (8, lambda x: x - 2 * x[:, :1].abs()),
                   (5, torch.sin))])  # fmt: skip
def my_order_test(layer: Any, x: Tensor, shuffle: Tensor) -> Table:
    """your test says how far a layer depends on the order of the tokens"""
    before, after, others = layer(x[:, shuffle]), layer(x)[:, shuffle], (layer(x), x, x[:, shuffle])
    off, undone = before - after, before - layer(x)[:, shuffle.argsort()]
    return (right := off.abs().max()), {
        "compare with the output for x, shuffled": [(before - y).abs().max() for y in others],
        "this is 0 for every layer": 0.0,
        "take the absolute differences, and the largest of them": [off.max(), off.min(), off.sum()],
        "take the largest difference": [off.abs().mean(), off.norm(), off.square().max()],
        "return the difference, not whether there is one": [right < 1e-4, right > 1e-4],
        "use the same `shuffle` for input and output": undone.abs().max(),
    }


@exercise(lambda: [(5,), (8,), (3,)])
def my_maps(N: int) -> Table:
    """these are the maps of the two tasks"""
    eye = torch.eye(N)
    mirror, left, first = eye.flip(0), eye.roll(1, 0), torch.arange(N)[:, None] == 0
    opens = [{"from_left": left.where(~first, other)} for other in (eye, 0 * eye)]
    return {"mirror": mirror, "from_left": left}, {
        "this map leaves every colour where it is": {"mirror": eye, "from_left": eye},
        "this takes from the right; row i is bright at i - 1": {"from_left": left.T},
        "row 0 is bright in the last column": opens,
        "row i is bright at N - 1 - i": [{"mirror": mirror.roll(i, 0)} for i in (1, -1)],
    }


@exercise(lambda: [(randn(b, 5, d), torch.sin, *randn(3, b, d)) for b, d in SIZE])
def my_branch(x: Tensor, part: Any, scale: Tensor, shift: Tensor, gate: Tensor) -> Table:
    """the branch reads modulated tokens, and its gate multiplies what it adds"""
    a, s, g = (y[:, None] for y in (scale, shift, gate))
    h = F.layer_norm(x, x.shape[-1:])
    read, add = h * (1 + a) + s, part(h * (1 + a) + s)
    gates = [x + add, x + (1 + g) * add, g * (x + add), g * x + add]
    no_axis = x + gate * part(h * (1 + scale) + shift) if len(x) == x.shape[1] else []
    return x + g * add, {
        "multiply by 1 + scale, so that a scale of 0 changes nothing": x + g * part(h * a + s),
        "the gate itself multiplies what is added to x, and only that": gates,
        "the norm is missing": x + g * part(x * (1 + a) + s),
        "scale and shift are exchanged": x + g * part(h * (1 + s) + a),
        "add to x as it came": [y + g * add for y in (0, h, read)],
        "modulate before the part, not after it": x + g * (part(h) * (1 + a) + s),
        "scale, shift and gate need an axis for the tokens": no_axis,
    }


def _stirred(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module


@exercise(lambda: [(_stirred(TransformerBlock(d, 1, condition_dim=4)), randn(2, n, d), randn(2, 4))
                   for n, d in SIZE])  # fmt: skip
def my_block(block: Any, x: Tensor, condition: Tensor) -> Table:
    """the forward pass of a transformer block"""

    def both(one: Any, two: Any, norm: Any = block.norm1, parts: str = "attention mlp") -> Tensor:
        y = x
        for part, (a, s, g) in zip(parts.split(), (one, two), strict=False):
            y = y + g * getattr(block, part)(norm(y) * (1 + a) + s)
        return y

    six = block.modulations(condition)
    one, two = six[:3], six[3:]
    y, z, right = both(one, (), parts="attention"), both(two, (), parts="mlp"), both(one, two)
    orders = [both(*p) for p in zip(permutations(one), permutations(two), strict=True)][1:]
    open1, open2 = (*one[:2], 1), (*two[:2], 1)
    low = [both((one[0] - i, *one[1:]), (two[0] - 1, *two[1:])) for i in (0, 1)]
    return right, {
        "each part has its own three of the six": [both(one, one), both(two, one), both(two, two)],
        "the order is scale, shift, gate": [*orders, both(six[::2], six[1::2])],
        "the MLP reads and changes the tokens that the attention has changed": [z, y + z - x, y],
        "the attention comes first, then the MLP": both(two, one, parts="mlp attention"),
        "a gate is missing": [both(open1, open2), both(open1, two), both(one, open2)],
        "multiply by 1 + scale": low,
        "a norm is missing": both(one, two, norm=lambda h: h),
        "a residual connection is missing": right - y,
    }


@exercise(lambda: [(10, 6), (7, 12), (25, 8)])
def my_multiplications(N: int, D: int) -> Table:
    """the projections and the products with the map take so many multiplications"""
    linear, square, both = N * D**2, N**2 * D, ("projections", "products")
    return {"projections": 4 * linear, "products": 2 * square}, {
        "there are three maps in to_qkv, and to_out": [{"projections": n * linear} for n in (2, 3)],
        "do not count the additions": dict(zip(both, (8 * linear, 4 * square), strict=True)),
        "a token meets D x D weights": [{"projections": n * square} for n in (3, 4)],
        "there are two products, q @ k.T and map @ v": {"products": square},
        "each entry of a product is a sum": [{"products": n * N**2} for n in (1, 2)],
    }


@exercise(lambda: [((3 * randn(6 - s, s**2, s**2)).softmax(-1), s) for s in (2, 5, 3)])
def my_reach(maps: Tensor, side: int) -> Table:
    """so far does each head look, in cells"""
    token, grid = torch.arange(side**2), torch.cartesian_prod(*[torch.arange(side * 1.0)] * 2)
    step = (grid[:, None] - grid).abs()  # (N, N, 2), rows and columns
    far, index = step.square().sum(-1).sqrt(), (token[:, None] - token).abs()
    means = [(maps * d).sum(-1).mean(-1) for d in (far, index, far**2, *step.movedim(-1, 0))]
    right, most = means[0], far[token, maps.argmax(-1)].mean(-1)
    return right, {
        "a token is a cell; use its row and its column": means[1],
        "use the straight line, a root of a sum of squares": [means[3] + means[4], *means[2:]],
        "average over the tokens": [right * side**2, (maps * far).sum(-1)],
        "the weights are not used": [far.mean().expand(len(maps)), far.mean()],
        "use all weights, not the largest only": [most, (maps * far).amax(-1).mean(-1)],
    }


@exercise(lambda: [()], tolerance=0.01)
def my_predictions() -> Table:
    """all four predictions hold"""
    sums = (1.0986, 3.0, 1.0, 0.5, 0.25)
    return {"(a)": 1 / 4, "(b)": 3 / 4, "(c)": 16.0, "(d)": 4.0}, {
        "the four weights are equal and sum to 1": [{"(a)": 1.0}, {"(a)": 0.0}],
        "divide exp of the second score by the sum of both exp": [{"(b)": b} for b in sums],
        "count pairs of tokens; a map has an entry for each": [{"(c)": n} for n in (2.0, 4.0, 8.0)],
        "each entry has a spread of 1; divide q . k by sqrt(d)": [{"(d)": 16.0}, {"(d)": 1.0}],
    }


@exercise(lambda: [(*randn(3, 2, r, 5 + r, 8 - r), r) for r in (2, 1, 3)])
def my_local_attention(q: Tensor, k: Tensor, v: Tensor, radius: int) -> Table:
    """your tokens attend to their neighbours only"""
    step, attend = torch.arange(q.shape[-2]), F.scaled_dot_product_attention
    step = step[:, None] - step
    near, scores = step.abs() <= radius, q @ k.mT / q.shape[-1] ** 0.5
    one_side = [step <= radius, step >= -radius, abs(step - radius / 2) <= radius / 2]
    other = [step.abs() < radius, step.abs() <= radius + 1]
    return attend(q, k, v, near), {
        "the mask has no effect": attend(q, k, v),
        "a score of 0 has the weight exp(0) = 1; fill with -inf": (scores * near).softmax(-1) @ v,
        "the rows do not sum to 1; mask first": scores.softmax(-1) * near @ v,
        "the last neighbour has |i - j| = radius": [attend(q, k, v, keep) for keep in other],
        "the two sides are not alike; use abs(i - j)": [attend(q, k, v, keep) for keep in one_side],
        "the mask is inverted": attend(q, k, v, ~near),
        "divide the scores by sqrt(d)": attend(q, k, v, near, scale=1.0),
    }


@exercise(lambda: [(2 * randn(b, n, D), 2 * randn(b, m, E), nn.Linear(D, D), nn.Linear(E, 2 * D), h)
                   for b, n, m, D, E, h in ((2, 5, 3, 6, 6, 2), (3, 4, 7, 15, 5, 3),
                                            (1, 3, 2, 10, 7, 5))])  # fmt: skip
def my_cross_attention(x: Tensor, context: Tensor, to_q: Any, to_kv: Any, num_heads: int) -> Table:
    """the tokens of x attend to those of the context"""

    def attend(to: Tensor, h: int = num_heads, by: float = 0, way: int = 1, axis: int = -1) -> Any:
        parts = to_q(x), *to_kv(to).chunk(2, -1)[::way]
        q, k, v = (torch.stack(part.chunk(h, -1), 1) for part in parts)
        return torch.cat(list(((q @ k.mT / (by or d) ** 0.5).softmax(axis) @ v).unbind(1)), -1)

    D, d, alike = x.shape[-1], x.shape[-1] // num_heads, x.shape[-1] == context.shape[-1]
    mixed = attend(context).unflatten(-1, (num_heads, -1)).transpose(1, 2)
    return attend(context), {
        "to_kv gives the keys first, then the values": attend(context, way=-1),
        "the softmax runs over the keys, the last axis": attend(context, axis=-2),
        "divide the scores by sqrt(d)": [attend(context, by=n) for n in (1, D, d**2)],
        "split into heads first": [attend(context, 1, n) for n in (d, D)],
        "move the axis of the heads before you merge": mixed.reshape(x.shape),
        "keys and values come from the context": attend(x) if alike else [],
    }


@exercise(lambda: [(*randn(n, 2 * d + 2).split([d, 1, 1, d], 1), *randn(2, 4, d)) for n, d in SIZE])
def my_update(q: Tensor, top: Tensor, total: Tensor, output: Tensor, k: Tensor, v: Tensor) -> Table:
    """a block of keys is added to the sums, without the map"""

    def sums(e: Tensor, old: Any) -> dict[str, Tensor]:
        return {"total": old * total + e.sum(1, keepdim=True), "output": old * output + e @ v}

    raw, root = q @ k.T, q.shape[1] ** 0.5
    new = torch.maximum(top, own := raw.amax(1, keepdim=True) / root)
    exps, old = (raw / root - new).exp(), (top - new).exp()
    others = [sums((raw / root - low).exp(), way) for low in (0, top, own) for way in (1, old)]
    right = {"top": new, **sums(exps, old)}
    return right, {
        "the top so far counts too": {"top": own},
        "divide the scores by sqrt(d)": {"top": torch.maximum(top, own * root)},
        "keep the old sums, times exp(top - new)": [
            sums(exps, w) for w in (0, 1, 1 / old, top - new)
        ],
        "subtract the new top from each score": others,
        "do not divide by the total yet": {"output": right["output"] / right["total"]},
    }


def _looks(side: int) -> list[tuple[Tensor, Tensor]]:
    cell = torch.arange(side**2).view(side, side)  # cells, and what they attend to: left, ...
    left, up, flat = (cell[:, 1:], cell[:, :-1]), (cell[1:], cell[:-1]), cell.view(1, -1)
    return [left, (flat[:, 1:], flat[:, :-1]), left[::-1], up, up[::-1], (cell, cell)]


def _heads(blocks: int, heads: int, side: int) -> tuple[Tensor, int]:
    scores = randn(blocks * heads, side**2, side**2)
    for i, (own, other) in enumerate(_looks(side)):
        scores[i - 3, own, other] += 3 if i else 3.2
    scores[2, 1, 0] += 9  # one large weight is not a large mean
    return scores.softmax(-1).unflatten(0, (blocks, heads)), side


@exercise(lambda: [_heads(3, 4, 4), _heads(2, 5, 3), _heads(4, 3, 5)])
def my_left_head(maps: Tensor, side: int) -> Table:
    """this head looks left"""
    looks = [maps[..., own, other].mean((-2, -1)) for own, other in _looks(side)]  # (blocks, heads)
    pairs = [divmod(int(weights.argmax()), maps.shape[1]) for weights in (*looks, -looks[0])]
    left, flat, to_right, up, down, own, least = ({"block": b, "head": h} for b, h in pairs)
    return left, {
        "count from 0": {name: n + 1 for name, n in left.items()},
        "block and head are exchanged": {"block": left["head"], "head": left["block"]},
        "a cell of the first column has no left neighbour; leave it out": flat,
        "this head looks elsewhere; left of token i is token i - 1": [to_right, up, down, own],
        "take the largest weight": least,
    }
