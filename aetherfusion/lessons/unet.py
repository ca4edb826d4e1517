"""The checks of lesson 03, against torch's functions and measured receptive fields."""

import copy
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import torch
import torch._dynamo  # the first optimizer loads it, and a time limit must not interrupt that
import torch.nn.functional as F
from torch import Tensor, nn, randn
from torch.utils.flop_counter import FlopCounterMode

from ..attention import TransformerBlock
from ..unet import ResidualBlock, UNetWithAttention
from . import Table, exercise
from .attention import _stirred


def _edited(code: str, mistakes: dict[str, str], **names: Any) -> Table:
    """The `out` of a code, and of the same with mistakes: "old -> new and old -> new or ..."."""

    def out(edits: str) -> Any:
        text = code
        for edit in edits.split(" and "):
            old, new = edit.split(" -> ")
            text = text.replace(old, new)
        exec(text, scope := {"F": F, "torch": torch, **names})
        return scope["out"]

    wrongs = {words: [*map(out, edits.split(" or "))] for words, edits in mistakes.items()}
    return out("out -> out"), wrongs


@exercise(lambda: [(randn(h, w), randn(3, 3)) for h, w in ((4, 6), (5, 3), (2, 7))])
def convolve(picture: Tensor, kernel: Tensor) -> Table:
    """your feature map equals that of F.conv2d"""
    code, four = "p = F.pad(a, (1, 1, 1, 1)); out = F.conv2d(p, k)[0, 0]", "1, 1, 1, 1"
    product = "(F.unfold(p, 3)[0].T.view(-1, 3, 3) @ k[0, 0]).sum((1, 2)).view(a.shape[2:])"
    return _edited(code, {
        "do not flip the kernel; its upper left weight belongs to the upper left pixel":
            " k) ->  k.flip(2, 3)) or  k) ->  k.flip(2)) or  k) ->  k.flip(3))",
        "rows and columns of the kernel are exchanged": " k) ->  k.mT)",
        "the border is missing; put zeros around the picture first":
            "[0, 0] -> [0, 0]; out[[0, -1]] = 0; out[:, [0, -1]] = 0",
        "outside the picture there are zeros":
            "1)) -> 1), 'circular') or 1)) -> 1), 'replicate') or 1)) -> 1), 'constant', 1)",
        "the window is off by one; its middle is the pixel itself":
            f"{four} -> 0, 2, 0, 2 or {four} -> 2, 0, 2, 0",
        "multiply number by number; `@` is a matrix product": f"F.conv2d(p, k)[0, 0] -> {product}",
    }, a=picture[None, None], k=kernel[None, None])  # fmt: skip


@exercise(lambda: [randn(1, *shape) for shape in ((3, 5, 6, 10), (2, 1, 8, 4), (1, 7, 2, 6))])
def fold_pixels(x: Tensor) -> Table:
    """folding by hand equals F.pixel_unshuffle"""
    right, (b, c, h, w) = F.pixel_unshuffle(x, 2), x.shape
    squares = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    quarters = x.reshape(b, c, 2, h // 2, 2, w // 2).transpose(3, 4)
    return right, {
        "a reshape alone moves no number; permute the axes first": x.reshape(right.shape),
        "the channels change fastest; keep the four of one together": squares.flatten(1, 3),
        "read each square row by row": squares.permute(0, 3, 2, 1, 4, 5).flatten(1, 3),
        "these are quarters of the picture; split H into (H / 2, 2)": quarters.flatten(1, 3),
    }


@exercise(lambda: [(randn(b, 4 * c, h, 7 - h),) for b, c, h in ((3, 5, 3), (2, 1, 5), (1, 3, 2))])
def unfold_pixels(x: Tensor) -> Table:
    """unfolding by hand equals F.pixel_shuffle"""
    right, (b, c, h, w) = F.pixel_shuffle(x, 2), x.shape
    squares = x.reshape(b, c // 4, 2, 2, h, w)  # then (B, channels, row, column, H, W)
    others = x.reshape(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    orders = ((4, 3, 5, 2), (2, 4, 3, 5), (3, 4, 2, 5), (4, 2, 3, 5), (2, 4, 5, 3))
    wrong = [squares.permute(0, 1, *order).reshape(right.shape) for order in orders]
    return right, {
        "a reshape alone moves no number; permute the axes first": x.reshape(right.shape),
        "split the channels into (channels, 2, 2), in this order": others.reshape(right.shape),
        "the first 2 belongs behind H, the second behind W: (H, 2, W, 2)": wrong,
    }


@exercise(lambda: [(randn(6 - f, c, f, 2 * c), nn.Conv2d(c, f, 3, padding=1), nn.Conv2d(f, f, 1),
                    nn.Conv2d(2 * f, c, 1)) for c, f in ((3, 5), (1, 2), (4, 3))])  # fmt: skip
def through_unet(x: Tensor, encode: Any, small: Any, decode: Any) -> Table:
    """both routes reach the decoder"""
    code = "s = encode(x); h = small(s); out = decode(torch.cat([h, s], 1))"
    return _edited(code, {
        "first the channels from small, then the skip": "[h, s] -> [s, h]",
        "the route through small is missing": "[h -> [s or [h -> [0 * h",
        "the skip is missing; it is the output of encode": "s] -> h] or s] -> 0 * h]",
        "use small once, on the output of encode": "(s) -> (small(s)) or h, s] -> small(h), h]",
    }, x=x, encode=encode, small=small, decode=decode)  # fmt: skip


@exercise(lambda: [(nn.Linear(d, 2), randn(7, d), randn(7, 2), n, lr)
                   for d, n, lr in ((3, 5, 0.1), (5, 7, 0.3), (6, 4, 0.2))])  # fmt: skip
def overfit(network: Any, x: Tensor, target: Tensor, steps: int, lr: float) -> Table:
    """your losses are those of a correct loop"""
    make = "o = torch.optim.AdamW(n.parameters(), lr)"
    loop = "l = F.mse_loss(n(x), y); o.zero_grad(); l.backward(); o.step(); out.append(l.item())"
    code = f"n, out = new(), []; {make}\nfor _ in steps: {loop}\nout = torch.tensor(out)"
    return _edited(code, {
        "the gradients of all steps add up; call zero_grad() in each": "o.zero_grad() -> 0",
        "the weights never change; the order is zero_grad(), backward(), step()": "o.step() -> 0",
        "take the loss from before the step": "l.item() -> F.mse_loss(n(x), y).item()",
        "an optimizer made again in each step forgets its averages": f"l =  -> {make}; l = ",
        "use the mean squared error": " y) ->  y, reduction='sum') or mse_loss -> l1_loss",
        "use AdamW with the rate lr": ", lr) -> ) or lr) -> 0.01) or AdamW -> SGD or AdamW -> Adam",
    }, new=lambda: copy.deepcopy(network), x=x, y=target, steps=range(steps), lr=lr)  # fmt: skip


@exercise(lambda: [(_stirred(ResidualBlock(i, o, condition_dim=c)), randn(b, i, o, c), randn(b, c))
                   for b, i, o, c in ((3, 5, 5, 4), (2, 3, 6, 7), (4, 4, 2, 3))])  # fmt: skip
def residual_forward(block: Any, x: Tensor, condition: Tensor) -> Table:
    """features, condition and input meet as in ResidualBlock"""
    code = """h = m.norm2(m.conv1(F.silu(m.norm1(x))))
a, b = m.modulation(F.silu(c))[..., None, None].chunk(2, 1)
h = h * (1 + a) + b; out = m.skip(x) + m.conv2(F.silu(h))"""
    one, two = "F.silu(m.norm1(x)) -> m.norm1(x)", "F.silu(h) -> h"
    return _edited(code, {
        "the input is missing; add block.skip(x) at the end": "m.skip(x) +  -> ",
        "a scale of 0 should leave h unchanged": "1 + a -> a",
        "the first half is the scale, the second the shift": "a, b -> b, a",
        "use the scale and the shift": " + b ->  or (1 + a) -> 1 or h * (1 + a) + b -> h",
        "SiLU is missing in front of the modulation or of a convolution":
            f"F.silu(c) -> c or {one} or {two} or {one} and {two}",
        "norm1 comes before SiLU, norm2 before scale and shift":
            "m.norm1(x) -> x or m.norm2 ->  or F.silu(m.norm1(x)) -> m.norm1(F.silu(x))"
            " or m.norm2 ->  and silu(h) -> silu(m.norm2(h))",
    }, m=block, x=x, c=condition)  # fmt: skip


@exercise(lambda: [(_stirred(UNetWithAttention(c, c, 16 * d, 2, condition_dim=5 - b, depth=d + 1)),
                    randn(b, c, 4 * h, 8 * d), randn(b, 5 - b), randn(h * 2 * d, 24 * d))
                   for b, c, h, d in ((3, 2, 3, 2), (2, 3, 5, 1), (1, 1, 2, 3))])  # fmt: skip
def unet_forward(net: Any, x: Tensor, condition: Tensor, places: Tensor) -> Table:
    """down, through the blocks, up, with the skip across"""
    code = """f, act, norm = m.fold(x), F.silu, m.norm; s = m.encode(f, c); h = m.down(s)
t = h.flatten(2).mT + p
for block in m.blocks: t = block(t, c)
u = m.up(t.mT.unflatten(2, h.shape[2:])); h = m.decode(torch.cat([u, s], 1), c)
out = m.unfold(act(norm(h)))"""
    cut = "h.flatten(2).mT -> h.reshape(len(h), -1, h.shape[1])"
    back = "t.mT.unflatten(2, h.shape[2:]) -> t.reshape(h.shape)"
    return _edited(code, {
        "add places to the tokens once, before the first block":
            "+ p ->  or + p ->  and (t, -> (t + p, or (t, -> (t + p,",
        "first the channels from up, then the skip": "[u, s] -> [s, u]",
        "the skip is the output of encode": "[u, s] -> [u, f] or m.encode(f, c) -> f",
        "the tokens go through all blocks, each on those of the one before":
            "m.blocks -> [] or m.blocks -> m.blocks[:1] or m.blocks -> m.blocks[-1:]",
        "reshape scrambles the tokens; an axis has to move": f"{cut} or {back} or {cut} and {back}",
        "height and width are exchanged": "(2, h.shape[2:]) -> (2, h.mT.shape[2:]).mT",
        "norm, then SiLU, come before unfold":
            "act(norm(h)) -> h or (norm(h)) -> (h) or act(norm -> (norm or act(norm -> norm(act",
    }, m=net, x=x, c=condition, p=places)  # fmt: skip


@exercise(lambda: [(nn.Conv2d(c, 4, 3, padding=1), randn(1, c, h, w), i, j) for c, h, w, i, j in
                   ((3, 5, 7, 1, 4), (2, 6, 4, 3, 0), (5, 8, 5, 0, 2))])  # fmt: skip
def influence_on(network: Any, image: Tensor, row: int, column: int) -> Table:
    """the influence of every pixel on the one in row and column"""
    code = "x = image.clone().requires_grad_(); H, W = x.shape[2:]; y = net(x)[0, :, i, j].sum()\n"
    code += "g = torch.autograd.grad(y, x)[0][0]; a = g.abs(); out = a.sum(0)"
    return _edited(code, {
        "take absolute values before you add up the channels":
            ".abs() ->  or abs -> square or a.sum(0) -> abs(g.sum(0)) or a.sum(0) -> g.norm(2, 0)",
        "add up the channels of the gradient":
            "a.sum(0) -> g or a.sum(0) -> a or a.sum(0) -> a[0] or a.sum -> a.mean",
        "add up the channels of the output": ", :, i -> , 0, i or j].sum -> j].mean",
        "take the pixel in this row and column, and no other":
            ", :, i, j ->  or i, j] -> j % H, i % W] or i, j] -> H // 2, W // 2] or i, j] -> 0, 0]",
    }, net=network, image=image, i=row, j=column)  # fmt: skip


@exercise(lambda: [(10, 24), (7, 40), (33, 16)])
def block_flops(N: int, D: int) -> Table:
    """your sum is what torch counts"""
    with FlopCounterMode(display=False) as counter:
        TransformerBlock(D, 2)(torch.zeros(1, N, D))
    right, one, pairs = counter.get_total_flops(), 2 * N * D * D, 2 * N * N * D
    return right, {
        "count an addition with each multiplication": right // 2,
        "the linear maps work on each of the N tokens": 12 * one // N + 2 * pairs,
        "the pairs need scores, and weighted means": [right - pairs, right - 2 * pairs],
        "each pair costs D multiplications and D additions": [12 * one + n * N * N for n in (2, 4)],
        "the MLP has two maps, each four times as large": [right - i * one for i in (8, 4, 6, -24)],
        "queries, keys, values and output have a map each": [right - i * one for i in (1, 2, 3)],
    }


@exercise(lambda: [(0, 0), (1, 0), (0, 1), (2, 1), (1, 3), (3, 2)])
def pixels_seen(before: int, after: int) -> Table:
    """your widths are those that the gradient measures"""
    start = x = torch.ones(1, 1, 48, requires_grad=True)
    for width, stride in [(3, 1)] * before + [(2, 2)] + [(3, 1)] * after:
        x = F.conv1d(x, torch.ones(1, 1, width), stride=stride, padding=width // 3)
    seen = torch.autograd.grad(x[0, 0, 12], start)[0] > 0
    widths = [2 + n * after + m * before for n, m in ((4, 4), (2, 4), (2, 2), (2, 1), (4, 1))]
    return int(seen.sum()), {
        "a cell at half size is two pixels wide": 1 + 2 * (before + after),
        "Downsample itself sees a square of 2 x 2, not one pixel": 1 + 2 * before + 4 * after,
        "a convolution before the halving counts single pixels, one after it double": widths[:2],
        "a 3 x 3 convolution adds a pixel, or a cell, on either side": widths[2:],
        "windows overlap; the widths add up": [2 * 3**after + n * before for n in (1, 2)],
    }


@exercise(lambda: [(randn(6 - h, h * w, 3), h, w) for h, w in ((3, 5), (4, 2), (2, 6))])
def tokens_to_map(tokens: Tensor, height: int, width: int) -> Table:
    """every token is back in its cell"""
    right = torch.stack(tokens.split(width, 1), 1).movedim(-1, 1)  # (B, D, height, width)
    turned = tokens.mT.unflatten(2, (width, height))
    return right, {
        "reshape spreads a token over many cells; move an axis first": tokens.reshape(right.shape),
        "height and width are exchanged; fill the map row by row": [turned, turned.mT],
    }


@exercise(lambda: [(*randn(2, 7 - c, c, 3, c), randn(7 - c, 3 * c)) for c in (5, 1, 4)])
def gated_update(x: Tensor, h: Tensor, steering: Tensor) -> Table:
    """a block with a gate; with steering at zero it is the identity"""
    code = "a, b, g = s[..., None, None].chunk(3, 1); c = 1 + a; out = x + g * (h * c + b)"
    orders = " or ".join(f"a, b, g -> {', '.join(order)}" for order in permutations("abg"))
    return _edited(code, {
        "a scale of 0 should leave h unchanged": "1 + a -> a",
        "x is missing; the update is added to it": "x +  -> ",
        "scale, shift and gate come in this order": orders,
        "the gate itself multiplies the update, all of it and nothing else":
            "g *  ->  or + g -> + (1 + g) or x + g * ( -> g * (x +  or (h * c + b) -> h * c + b",
        "add the shift, and do not scale it": " + b ->  or (h * c + b) -> (h + b) * c",
    }, x=x, h=h, s=steering)  # fmt: skip


@exercise(lambda: [
    (SimpleNamespace(time_embedding=nn.Sequential(nn.Unflatten(0, (-1, 1)), nn.Linear(1, b + 2)),
                     label_embedding=nn.Embedding(k + 1, b + 2), null_label=k,
                     unet=lambda x, c: x * c.cos().mean(1)[:, None, None, None]),
     randn(b, 2, b, 3), torch.rand(b), labels)
    for b, k, labels in ((3, 4, None), (5, 6, torch.arange(5)), (2, 7, None))])  # fmt: skip
def model_forward(model: Any, xt: Tensor, t: Tensor, labels: Tensor | None) -> Table:
    """time and label steer the U-Net; without labels it is the null label"""
    code = "null = torch.full((len(x),), m.null_label); given = null if none else labels\n"
    code += "time, label = m.time_embedding(t), m.label_embedding(given)\n"
    return _edited(f"{code}out = m.unet(x, time + label)", {
        "without labels use model.null_label": "m.null_label -> 0 or _label); -> _label - 1);",
        "without labels, the null label is added too": "+ label -> + label * (not none)",
        "the labels that are given are not used": "null if none else labels -> null",
        "add the two vectors, that of the time and that of the label":
            "+ label ->  or time +  ->  or + -> * or time + label -> torch.cat([time, label], 1)",
    }, m=model, x=xt, t=t, labels=labels, none=labels is None)  # fmt: skip


@exercise(lambda: [(
    [_stirred(nn.Conv2d(3, 3, k, padding="same", dilation=gap) if k else nn.LayerNorm(11)).double()
     for k, gap in kinds], randn(1, 3, height, 11).double()) for height, kinds in (
        (9, ((3, 1), (1, 1), (3, 2), (5, 1), (5, 1))), (6, ((1, 1), (3, 1))),
        (8, ((3, 1), (0, 0), (3, 1))))])  # fmt: skip
def find_leak(layers: Any, image: Tensor) -> Table:
    """the first layer that sees beyond its window is found"""
    row, column = (n // 2 for n in image.shape[2:])
    near, other = (..., *(slice(i - 1, i + 2) for i in (row, column))), torch.randn_like(image)
    other[near] = image[near]  # type: ignore[index]
    outs = [[layer(x)[0, :, row, column] for x in (image, other)] for layer in layers]
    leaks = [i for i, (a, b) in enumerate(outs) if not torch.allclose(a, b)]
    wide = [i for i in leaks if getattr(layers[i], "dilation", (1, 1)) == (1, 1)]
    first, last = (leaks or [-1])[0], (leaks or [-1])[-1]
    return first, {
        "a window with gaps also sees nine pixels; look where they are": (wide or [-1])[0],
        "this is the last layer that sees too much; return the first": last,
        "return -1 if no layer sees too much": [first if leaks else i for i in (0, len(layers))],
        "return the index, counted from 0": first + 1 if leaks else -1,
    }
