"""The checks of the exercises: a corpus of wrong and right answers, and what a student can do.

An answer is a lesson's solution with some text replaced. A wrong one comes with a part of what the
check has to say; words that name no mistake are marked with a "?".
"""

from __future__ import annotations

import io
import json
import linecache
import re
import threading
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aetherfusion.lessons import NotYet, Table, exercise
from aetherfusion.sampling import ddim, time_grid

START = "import math, torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
START += "from aetherfusion import FLOW, NoisePath, sinusoid\n"
START += "from aetherfusion.evaluation import nearest_pictures\n"

Wrong = list[tuple[str, str, str]]  # replace this, by that, and the check says
Right = list[tuple[str, str]]

#: Exercise: solution, wrong answers, other right ones.
CORPUS: dict[str, tuple[str, Wrong, Right]] = {
    "positional.read_clocks": (
        """
        angle = torch.atan2(code[:, 6], code[:, 7]) % (2 * math.pi)
        return angle / 0.001""",
        [
            (" % (2 * math.pi)", "", "modulo 2 pi"),
            ("code[:, 6], code[:, 7]", "code[:, 7], code[:, 6]", "the sine comes first"),
            (" / 0.001", "", "divide it by the frequency"),
            (" / 0.001", " * 0.001", "divide it by the frequency"),
            ("6], code[:, 7", "0], code[:, 1", "the fastest clock"),
            (" % (2 * math.pi)", ".abs()", "modulo 2 pi"),
            (
                "torch.atan2(code[:, 6], code[:, 7])",
                "torch.atan(code[:, 6] / code[:, 7])",
                "wrong at",
            ),
            ("angle / 0.001", "(angle / 0.001)[:8]", "the shape should be (11,)"),
            ("angle / 0.001", "(angle / 0.001).long()", "torch.int64"),
            ("angle / 0.001", "angle / 0", "nan"),
            ("angle / 0.001", "(angle / 0.001).tolist()", "a tensor is wanted"),
            ("angle / 0.001", "-angle / 0.001", "the sign is wrong"),
        ],
        [("angle / 0.001", "1000 * angle"), ("code[:, 6]", "code.double()[..., -2]")],
    ),
    "positional.grid_dot": (
        """
        width = dim // 2
        total = 0.0
        for i in range(width // 2):
            w = 10_000 ** (-2 * i / width)
            total += math.cos(w * rows_apart) + math.cos(w * columns_apart)
        return total""",
        [
            ("width = dim // 2", "width = dim", "half of dim"),
            ("-2 * i / width", "-2 * i / dim", "the exponent is too small"),
            ("-2 * i / width", "-i / width", "the exponent is too small"),
            ("math.cos(w * rows_apart) + math", "math", "one of the two axes is missing"),
            (") + math", ") * math", "one of your values is?"),
            ("return total", "return -total", "the sign is wrong"),
            ("return total", "return 2 * total", "2 times the right one"),
            ("return total", "return total / dim", "dim times too small"),
            ("range(width // 2)", "range(2)", "is right"),
            ("return total", "return [total]", "a number is wanted"),
            ("return total", "return total + 1", "off by +1"),
        ],
        [
            ("return total", "return torch.tensor(total)"),
            ("math.cos(w * rows_apart)", "math.sin(w * rows_apart + math.pi / 2)"),
        ],
    ),
    "positional.position_volume": (
        """
        axes = [torch.arange(n) for n in (frames, height, width)]
        places = torch.meshgrid(*axes, indexing="ij")
        codes = [sinusoid(place, dim // 3) for place in places]
        return torch.cat(codes, dim=-1).reshape(-1, dim)""",
        [
            (".reshape(-1, dim)", "", "yours is (2, 3, 4, 12)"),
            ('"ij"', '"xy"', "the frame changes slowest"),
            ("torch.cat(codes, dim=-1).reshape(-1, dim)", "sum(codes).flatten(0, 2)", "are added"),
            ("torch.cat(codes", "torch.cat(codes[::-1]", "in the order frame, row, column"),
            (".reshape(-1", ".transpose(1, 2).reshape(-1", "then the row"),
            (".reshape(-1", ".permute(1, 2, 0, 3).reshape(-1", "the frame changes slowest"),
            ("dim // 3", "dim // 3, 100.0", "at index"),
            ("place, dim", "place + 1, dim", "one of your values is?"),
            ("reshape(-1, dim)", "reshape(-1, 12)", "with frames=4"),
        ],
        [
            (
                "torch.cat(codes, dim=-1).reshape(-1, dim)",
                "torch.cat(codes, 3).flatten(0, 2).double()",
            ),
            ("place, dim", "place.double(), dim"),
        ],
    ),
    "positional.time_code": (
        "return sinusoid(1000 * t, dim)",
        [
            ("1000 * t", "1000 * t.long()", "keep its fraction"),
            ("1000 * t", "(1000 * t).long()", "keep its fraction"),
            ("1000 * t", "(1000 * t).round()", "keep its fraction"),
            ("1000 * t", "t", "hardly move"),
            ("1000 * t", "100 * t", "one of your values is?"),
            ("1000 * t, dim)", "1000 * t, dim).T", "axes 0 and 1 are exchanged"),
            ("return sinusoid(1000 * t", "t *= 1000\n        return sinusoid(t", "changes `t`"),
            ("1000 * t, dim)", "1000 * t, 16)", "the shape should be (4, 10)"),
        ],
        [("1000 * t", "t / 0.001"), ("1000 * t", "1000 * t.double()")],
    ),
    "attention.my_attention": (
        """
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return logits.softmax(dim=-1) @ v""",
        [
            (" / math.sqrt(q.shape[-1])", "", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "q.shape[-1]", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-2])", "d is the width of a head"),
            ("/ math.sqrt", "* math.sqrt", "divide the scores by sqrt(d)"),
            ("dim=-1", "dim=-2", "the softmax takes the wrong axis"),
            ("dim=-1", "dim=1", "the softmax takes the wrong axis"),
            (".softmax(dim=-1)", "", "the softmax is missing"),
            ("q @ k.transpose", "k @ q.transpose", "exchanged"),
            (" @ v", "", "these are the weights"),
            ("logits.softmax(dim=-1)", "(2 * logits).softmax(dim=-1)", "one of your values is?"),
            ("math.sqrt(q.shape[-1])", "2", "one of your values is?"),
            ("k.transpose(-1, -2)", "k", "RuntimeError"),
            ("math.sqrt(q.shape[-1])", "math.sqrt(6)", "it is right with q of shape (2, 3, 5, 6)"),
        ],
        [
            (" / math.sqrt(q.shape[-1])", " * k.size(3) ** -0.5"),
            ("logits.softmax(dim=-1)", "(logits.exp() / logits.exp().sum(-1, keepdim=True))"),
        ],
    ),
    "attention.my_predictions": (
        "return [1 / 4, 3 / 4, 16, 4]",
        [
            ("[1 / 4", "[1", "(a): the four weights are equal"),
            ("3 / 4", "3", "(b): divide exp of the second"),
            ("3 / 4", "1.0986", "(b): divide exp of the second"),
            (
                "16, 4",
                "4, 16",
                "(c): count pairs of tokens; a map has an entry for each; (d): each",
            ),
            ("16", "8", "(c): count pairs"),
            ("16, 4", "16, 1", "(d): each entry"),
            (", 4]", ", None]", "(d): it is open"),
            (", 4]", "]", "4 results are wanted, ((a), (b), (c), (d))"),
            ("[1 / 4, 3 / 4, 16, 4]", "[math.nan] * 4", "infinite or nan"),
            ("1 / 4", "0.3", "(a): 0.3 is not right"),
            ("[1 / 4, 3 / 4, 16, 4]", "0.25", "4 results are wanted"),
        ],
        [
            ("[1 / 4, 3 / 4, 16, 4]", "torch.tensor([0.25, 0.75, 16, 4])"),
            ("16, 4]", "16.0, 4.0)"[:-1] + "]"),
        ],
    ),
    "attention.my_local_attention": (
        """
        places = torch.arange(q.shape[-2])
        far = (places[:, None] - places[None]).abs() > radius
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return logits.masked_fill(far, -torch.inf).softmax(dim=-1) @ v""",
        [
            (".masked_fill(far, -torch.inf)", "", "the mask has no effect"),
            ("-torch.inf", "0.0", "fill with -inf"),
            (
                "-torch.inf).softmax(dim=-1)",
                "0.0).softmax(-1).masked_fill(far, 0.0)",
                "one of your values is?",
            ),
            (
                "logits.masked_fill(far, -torch.inf).softmax(dim=-1)",
                "logits.softmax(-1) * ~far",
                "mask first",
            ),
            ("> radius", ">= radius", "the last neighbour has"),
            ("> radius", "> radius + 1", "the last neighbour has"),
            (".abs() > radius", " > radius", "use abs(i - j)"),
            (".abs() > radius", " < -radius", "use abs(i - j)"),
            ("far, -torch", "~far, -torch", "the mask is inverted"),
            (" / math.sqrt(q.shape[-1])", "", "divide the scores by sqrt(d)"),
            ("> radius", "> 2", "it is right with q of shape (2, 2, 7, 6)"),
            ("arange(q.shape[-2])", "arange(7)", "RuntimeError"),
        ],
        [
            ("-torch.inf", "float('-inf')"),
            ("-torch.inf", "-1e9"),
            (".abs() > radius", ".pow(2) > radius**2"),
        ],
    ),
    "attention.my_merge": (
        "return mixed.transpose(1, 2).flatten(2)",
        [
            (
                "mixed.transpose(1, 2).flatten(2)",
                "mixed.reshape(len(mixed), mixed.shape[2], -1)",
                "mixes tokens",
            ),
            ("transpose(1, 2)", "permute(0, 2, 3, 1)", "interleaved"),
            (".transpose(1, 2).flatten(2)", ".mean(1)", "lay them side by side"),
            (".transpose(1, 2).flatten(2)", ".sum(1)", "lay them side by side"),
            (".flatten(2)", "", "the shape should be (2, 5, 18)"),
            ("mixed.transpose", "mixed.flip(1).transpose", "in the wrong places"),
            ("transpose(1, 2)", "transpose(1, 3)", "heads and width"),
            ("transpose(1, 2).flatten(2)", "flatten(2)", "the shape should be"),
            (".flatten(2)", ".reshape(2, 5, 18)", "RuntimeError"),
            (".transpose(1, 2).flatten(2)", "", "`mixed` as it came"),
        ],
        [
            (".flatten(2)", ".reshape(len(mixed), mixed.shape[2], -1)"),
            ("mixed.transpose(1, 2).flatten(2)", "torch.cat(list(mixed.unbind(1)), 2)"),
        ],
    ),
    "unet.fold_pixels": (
        """
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
        squares = squares.permute(0, 1, 3, 5, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2)""",
        [
            ("squares = squares.permute(0, 1, 3, 5, 2, 4)", "", "a reshape alone"),
            ("0, 1, 3, 5, 2, 4", "0, 3, 5, 1, 2, 4", "the channels change fastest"),
            ("0, 1, 3, 5, 2, 4", "0, 1, 5, 3, 2, 4", "row by row"),
            ("height // 2, 2, width // 2, 2)", "2, height // 2, 2, width // 2)", "?"),
            ("return squares.reshape", "return (2 * squares).reshape", "2 times the right one"),
            (
                "return squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "return squares",
                "the shape should be (3, 20, 3, 5)",
            ),
            (
                "return",
                "return F.avg_pool2d(x, 2)\n        return",
                "the shape should be (3, 20, 3, 5)?",
            ),
            (
                "channels, height, width = x.shape",
                "channels, height, width = 3, 5, 6, 10",
                "RuntimeError",
            ),
            (
                "squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "squares.flatten(1, 3).int()",
                "torch.int32",
            ),
        ],
        [
            (
                "squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "squares.flatten(1, 3)",
            ),
            ("return", "return F.pixel_unshuffle(x.double(), 2)\n        return"),
        ],
    ),
    "unet.pixels_seen": (
        """
        cells = 1 + 2 * after
        return 2 * cells + 2 * before""",
        [
            ("2 * cells", "cells", "two pixels wide"),
            ("2 * cells", "2 * cells - 1", "a square of 2 x 2"),
            ("2 * before", "4 * before", "single pixels"),
            ("2 * before", "before", "?"),
            (
                "return 2 * cells + 2 * before",
                "return (2 * cells + 2 * before) ** 2",
                "this is the square of",
            ),
            ("1 + 2 * after", "2 * after", "off by -2"),
            ("return", "before, after = after, before\n        return", "?"),
            ("return", "return 6\n        return", "every value is 6"),
            ("return 2 * cells", "return [cells]\n        2 * cells", "a number is wanted"),
        ],
        [
            ("2 * cells + 2 * before", "float(2 + 4 * after + 2 * before)"),
            ("1 + 2 * after", "torch.tensor(1 + 2 * after)"),
        ],
    ),
    "unet.tokens_to_map": (
        "return tokens.transpose(1, 2).unflatten(2, (height, width))",
        [
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.reshape(len(tokens), -1, height, width)",
                "move an axis first",
            ),
            ("(height, width)", "(width, height)", "height and width are exchanged"),
            ("(height, width))", "(width, height)).mT", "row by row"),
            (".transpose(1, 2).unflatten(2, (", ".unflatten(1, (", "the channels are last"),
            (".unflatten(2, (height, width))", "", "the shape should be (3, 3, 3, 5)"),
            ("(height, width))", "(height, width)).flip(2)", "reversed along axis 2"),
            ("(height, width))", "(height, width)) / 2", "0.5 times"),
            ("(height, width)", "(3, 5)", "RuntimeError"),
        ],
        [
            ("tokens.transpose(1, 2)", "tokens.permute(0, 2, 1).double()"),
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)",
            ),
        ],
    ),
    "unet.gated_update": (
        """
        scale, shift, gate = steering[:, :, None, None].chunk(3, dim=1)
        return x + gate * (h * (1 + scale) + shift)""",
        [
            ("(1 + scale)", "scale", "leave h unchanged"),
            ("gate * (h * (1 + scale) + shift)", "h * (1 + scale) + shift", "the gate is missing"),
            ("x + gate", "gate", "x is missing"),
            ("+ gate *", "+ (1 + gate) *", "do not add 1"),
            ("scale, shift, gate =", "shift, scale, gate =", "in this order"),
            ("scale, shift, gate =", "gate, shift, scale =", "in this order"),
            (
                "x + gate * (h * (1 + scale) + shift)",
                "gate * (x + h * (1 + scale) + shift)",
                "all of it and nothing else",
            ),
            (" + shift)", ")", "the shift is missing"),
            ("(h * (1 + scale) + shift)", "h * (1 + scale) + shift", "all of it and nothing else"),
            ("return x + gate * (h * (1 + scale) + shift)", "return x", "`x` as it came"),
            ("[:, :, None, None]", "", "RuntimeError"),
            (
                "return x + ",
                "x += gate * (h * (1 + scale) + shift)\n        return x - 0 * ",
                "changes `x`",
            ),
        ],
        [
            ("h * (1 + scale)", "h + h * scale"),
            (
                "x + gate * (h * (1 + scale) + shift)",
                "torch.addcmul(x, gate, h * (1 + scale) + shift)",
            ),
        ],
    ),
    "diffusion.velocity_from_noise": (
        """
        time = t.reshape(-1, *[1] * (xt.ndim - 1))
        x0_hat = (xt - path.sigma(time) * noise_hat) / path.alpha(time)
        return path.velocity(x0_hat, noise_hat, t)""",
        [
            (" / path.alpha(time)", "", "divide it by alpha"),
            ("/ path.alpha(time)", "/ path.sigma(time)", "divide it by alpha"),
            ("path.velocity(x0_hat,", "path.velocity(xt,", "in place of x0"),
            ("return path", "return -path", "the sign is wrong"),
            ("path.velocity(x0_hat, noise_hat, t)", "x0_hat", "that is x0"),
            ("path.velocity(x0_hat, noise_hat, t)", "noise_hat - x0_hat", "straight path only"),
            ("t.reshape(-1, *[1] * (xt.ndim - 1))", "t", "along the last axis"),
            (
                "t.reshape(-1, *[1] * (xt.ndim - 1))",
                "t[:, None, None, None]",
                "the shape should be",
            ),
            ("path.velocity(x0_hat, noise_hat, t)", "noise_hat", "as it came"),
            ("path.sigma(time) * noise_hat", "noise_hat", "?"),
        ],
        [
            (
                "path.velocity(x0_hat, noise_hat, t)",
                "path.d_alpha(time) * x0_hat + path.d_sigma(time) * noise_hat",
            ),
            ("path.velocity(x0_hat, noise_hat, t)", "path.velocity_from_x0(xt, x0_hat, t)"),
        ],
    ),
    "diffusion.two_points_x0": (
        "return torch.tanh(alpha * xt / sigma**2)",
        [
            ("sigma**2", "sigma", "not squared"),
            ("alpha * xt", "xt", "alpha is missing"),
            ("alpha * xt", "2 * alpha * xt", "factor of 2 in the exponent"),
            ("alpha * xt", "alpha * xt / 2", "factor of 2 in the exponent"),
            ("torch.tanh(alpha * xt / sigma**2)", "xt.sign()", "the nearer point"),
            ("torch.tanh(alpha * xt / sigma**2)", "xt / alpha", "the noise is still in it"),
            ("tanh", "sigmoid", "?"),
            ("torch.tanh", "-torch.tanh", "the sign is wrong"),
            (
                "return torch.tanh(alpha * xt / sigma**2)",
                "return torch.sigmoid(2 * alpha * xt / sigma**2)",
                "the probability of 1",
            ),
            ("torch.tanh", "math.tanh", "your function raised"),
            ("xt /", "xt.abs() /", "the abs of"),
        ],
        [
            (
                "torch.tanh(alpha * xt / sigma**2)",
                "2 * torch.sigmoid(2 * alpha * xt / sigma**2) - 1",
            ),
            ("torch.tanh(alpha", "torch.tanh(alpha / sigma / sigma * xt.double() if 1 else (alpha"),
        ]
        and [
            (
                "torch.tanh(alpha * xt / sigma**2)",
                "2 * torch.sigmoid(2 * alpha * xt / sigma**2) - 1",
            ),
            ("alpha * xt / sigma**2", "xt.double() * (alpha / sigma) / sigma"),
        ],
    ),
    "diffusion.my_path": (
        """
        return NoisePath(
            name="gentle",
            alpha=lambda t: torch.cos(math.pi / 2 * t) ** 2,
            sigma=lambda t: torch.sin(math.pi / 2 * t) ** 2,
            d_alpha=lambda t: -math.pi / 2 * torch.sin(math.pi * t),
            d_sigma=lambda t: math.pi / 2 * torch.sin(math.pi * t),
        )""",
        [
            ("-math.pi / 2 * torch", "math.pi / 2 * torch", "d_alpha: the sign is wrong"),
            ("t: math.pi / 2 * torch", "t: torch", "d_sigma: the inner derivative"),
            (
                "t: math.pi / 2 * torch",
                "t: math.pi / 4 * torch",
                "d_sigma: your result is 0.5 times",
            ),
            ("2 * t) ** 2,\n            sigma", "2 * t),\n            sigma", "alpha: square it"),
            ("t: math.pi / 2 * torch", "t: math.pi * torch", "d_sigma: your result is 2 times"),
            (
                "d_sigma=lambda t: math.pi / 2 * torch.sin",
                "d_sigma=lambda t: math.pi / 2 * math.sin",
                "in line",
            ),
            ("return NoisePath(", "return dict(", "return a NoisePath"),
            ("alpha=lambda t: torch.cos", "alpha=lambda t: torch.sin", "alpha: "),
            (
                "-math.pi / 2 * torch.sin(math.pi * t)",
                "torch.tensor(-1.0)",
                "d_alpha: the shape should be (19,)",
            ),
        ],
        [
            ("torch.cos(math.pi / 2 * t) ** 2", "(1 + torch.cos(math.pi * t)) / 2"),
            (
                "-math.pi / 2 * torch.sin(math.pi * t)",
                "-math.pi * torch.sin(math.pi / 2 * t) * torch.cos(math.pi / 2 * t)",
            ),
        ],
    ),
    "diffusion.euler": (
        """
        x = noise
        for i in range(num_steps):
            t = torch.full((len(x),), 1 - i / num_steps)
            x = x - velocity(x, t) / num_steps
        return x""",
        [
            ("1 - i / num", "i / num", "your times rise"),
            ("x - velocity", "x + velocity", "subtract it"),
            ("1 - i / num", "1 - (i + 1) / num", "where a step begins"),
            ("1 - i / num", "1 - (i + 0.5) / num", "where a step begins"),
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "torch.tensor(1 - i / num_steps)",
                "one time for each particle",
            ),
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "1 - i / num_steps",
                "one time for each particle",
            ),
            ("x = x - ", "x -= ", "changes `noise`"),
            (" / num_steps\n        return", "\n        return", "?"),
            ("range(num_steps)", "range(num_steps - 1)", "?"),
            ("return x", "return noise", "`noise` as it came"),
            ("            x = x -", "            y = x -", "`noise` as it came"),
            ("range(num_steps)", "range(6)", "it is right with noise of shape (2, 3)"),
        ],
        [
            (
                "torch.full((len(x),), 1 - i / num_steps)",
                "torch.ones(len(x)) * (1 - i / num_steps)",
            ),
            (
                "            t = torch.full((len(x),), 1 - i / num_steps)",
                "            t = torch.linspace(1, 0, num_steps + 1)[i].double().expand(len(x))",
            ),
        ],
    ),
    "training.cosine_decay": (
        "return (1 + math.cos(math.pi * step / total_steps)) / 2",
        [
            ("1 + math", "1 - math", "1 minus the right result"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi * step / total_steps)",
                "it ends at -1",
            ),
            ("math.pi * step", "2 * math.pi * step", "an angle up to pi"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "1 - step / total_steps",
                "a straight line",
            ),
            (" / 2", "", "2 times the right one"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi / 2 * step / total_steps)",
                "half a cosine",
            ),
            ("math.pi * ", "", "one of your values is?"),
            ("total_steps)", "40)", "it is right with step=0"),
            ("math.cos(", "math.cos(torch.ones(3) * ", "your function raised"),
            ("return (1", "return 0.5 + (1", "off by +0.5"),
            ("step / total_steps", "step // total_steps", "it is right with"),
        ],
        [
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi * step / total_steps / 2) ** 2",
            ),
            (
                "math.cos(math.pi * step / total_steps)",
                "torch.cos(torch.tensor(math.pi * step / total_steps))",
            ),
        ],
    ),
    "training.drop_labels": (
        """
        lost = torch.rand(len(labels)) < probability
        return torch.where(lost, null_label, labels)""",
        [
            ("< prob", "> prob", "you keep the share"),
            ("rand(len(labels))", "rand(1)", "a random number for each label"),
            ("lost, null_label", "lost, -1", "must become `null_label`"),
            ("lost, null_label", "lost, 10", "must become `null_label`"),
            (
                "torch.rand(len(labels)) < probability",
                "torch.arange(len(labels)) < probability * len(labels)",
                "new ones at each call",
            ),
            (
                "torch.rand(len(labels)) < probability",
                "torch.randperm(len(labels)) < probability * len(labels)",
                "new ones at each call",
            ),
            ("        lost", "        torch.manual_seed(0)\n        lost", "new ones at each call"),
            ("< probability", "< 0.25", "?"),
            ("torch.where(lost, null_label, labels)", "labels[~lost]", "return labels"),
            (
                "torch.where(lost, null_label, labels)",
                "torch.where(lost, null_label, labels).float()",
                "must stay as they are",
            ),
            (
                "return torch.where(lost, null_label, labels)",
                "labels[lost] = null_label\n        return labels",
                "changes `labels`",
            ),
            ("torch.rand", "torch.randn", "?"),
        ],
        [
            (
                "torch.rand(len(labels)) < probability",
                "torch.bernoulli(torch.full((len(labels),), probability)).bool()",
            ),
            ("torch.where(lost, null_label, labels)", "labels.masked_fill(lost, null_label)"),
        ],
    ),
    "training.summed_gradient": (
        """
        for inputs, targets in batches:
            loss = nn.functional.mse_loss(net(inputs), targets) / len(batches)
            loss.backward()""",
        [
            (" / len(batches)", "", "divide each by len(batches)"),
            (
                "            loss =",
                "            net.zero_grad()\n            loss =",
                "only one batch",
            ),
            ("len(batches)", "len(inputs)", "divide by the number of batches"),
            ("loss.backward()", "pass", "only one in memory"),
            ("            loss.backward()", "        loss.backward()", "only one in memory"),
            ("len(batches)", "12", "one of your values is?"),
            ("loss.backward()", "loss.backward()\n        net.zero_grad()", "leave the gradient"),
            (
                "        for",
                "        batches = [[torch.cat(b) for b in zip(*batches)]]\n        for",
                "only one in memory",
            ),
            (
                "        for",
                "        a = [net(x) for x, _ in batches]\n        for",
                "only one in memory",
            ),
            ("mse_loss", "l1_loss", "?"),
            (
                "loss.backward()",
                "loss.backward()\n            net.weight.data -= net.weight.grad",
                "one of your values is?",
            ),
        ],
        [
            ("loss.backward()", "(2 * loss / 2).backward()"),
            (
                "nn.functional.mse_loss(net(inputs), targets)",
                "(net(inputs) - targets).square().mean()",
            ),
            ("loss.backward()", "loss.backward()\n        return loss"),
        ],
    ),
    "generation.midpoint_step": (
        """
        t_half = (t + t_next) / 2
        velocity = (x - denoise(x, t)) / t
        x_half = x + (t_half - t) * velocity
        velocity_half = (x_half - denoise(x_half, t_half)) / t_half
        return x + (t_next - t) * velocity_half""",
        [
            ("* velocity_half", "* velocity", "one step of Euler"),
            ("return x + (t_next - t)", "return x + (t_half - t)", "the whole step from x"),
            ("return x +", "return x_half +", "go back to x"),
            ("return x + (t_next - t)", "return x_half + (t_next - t_half)", "go back to x"),
            (
                "denoise(x_half, t_half)) / t_half",
                "denoise(x_half, t)) / t",
                "the second evaluation is at time",
            ),
            ("/ t_half", "/ t", "the second evaluation is at time"),
            ("(t_next - t)", "(t - t_next)", "which is negative"),
            (
                "(x_half - denoise(x_half, t_half))",
                "(x - denoise(x, t_half))",
                "at x_half, not at x",
            ),
            (
                "return x + (t_next - t) * velocity_half",
                "return velocity_half",
                "one of your values is?",
            ),
            ("return x + (t_next - t) * velocity_half", "return x", "`x` as it came"),
        ],
        [
            ("(t + t_next) / 2", "t + 0.5 * (t_next - t)"),
            ("(x - denoise(x, t)) / t", "FLOW.velocity_from_x0(x, denoise(x, t), t)"),
        ],
    ),
    "generation.images_seen": (
        "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
        [
            (
                "2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "steps, 2 * steps - 1, steps",
                "ddim: with guidance",
            ),
            ("2 * (2 * steps - 1)", "4 * steps", "heun: the last step"),
            (", 2 * steps", ", 4 * steps", "dpmpp_2m: it remembers"),
            ("2 * (2 * steps - 1)", "2 * steps", "heun: the last step"),
            (
                "2 * (2 * steps - 1), 2 * steps",
                "2 * steps, 2 * (2 * steps - 1)",
                "heun: the last step of heun has one evaluation; dpmpp_2m: it",
            ),
            (", 2 * steps", "", "3 results are wanted"),
            ("2 * (2 * steps - 1)", "14", "heun: "),
            ("return 2 * steps,", "return 2 * steps + 1,", "ddim: your result is off by +1"),
        ],
        [
            (
                "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "return [2 * steps, 4 * steps - 2, steps * 2.0]",
            ),
            ("2 * (2", "torch.tensor(2) * (2"),
        ],
    ),
    "generation.foreseen": (
        """
        slope = (x0_hat - x0_before) / h_before
        return x0_hat + slope * h / 2""",
        [
            ("h / 2", "h", "go half-way"),
            (
                "(x0_hat - x0_before) / h_before",
                "(x0_hat - x0_before) * h_before / h / h",
                "by h / h_before",
            ),
            (" / h_before", " / h", "by h / h_before"),
            ("x0_hat + slope", "x0_hat - slope", "the sign is wrong"),
            ("return x0_hat +", "return x0_before +", "the newer estimate"),
            (" / h_before", "", "by h / h_before"),
            ("return x0_hat + slope * h / 2", "return x0_hat", "`x0_hat` as it came"),
            ("return x0_hat + slope", "x0_hat += slope", "returns None"),
            (
                "return x0_hat + slope * h / 2",
                "x0_hat += slope * h / 2\n        return x0_hat",
                "changes `x0_hat`",
            ),
            (
                "slope * h / 2",
                "(x0_hat - x0_before) * (h / 2 * h_before) / h_before / h_before",
                "nan",
            ),
        ],
        [
            ("slope * h / 2", "(x0_hat - x0_before) * (h / h_before / 2)"),
            ("x0_hat + slope", "x0_hat.double() + slope"),
        ],
    ),
    "generation.steer_away": (
        """
        both_labels = torch.cat([labels, torch.full_like(labels, unwanted)])

        def steered(xt, t):
            wanted, other = denoise(torch.cat([xt, xt]), t, both_labels).chunk(2)
            return torch.lerp(other, wanted, guidance_scale)

        return steered""",
        [
            ("wanted, other =", "other, wanted =", "the two are exchanged"),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "wanted + guidance_scale * (wanted - other)",
                "scale 1 is no guidance",
            ),
            ("torch.lerp(other, wanted, guidance_scale)", "wanted", "nothing is steered"),
            ("torch.lerp(other, wanted, guidance_scale)", "other", "one estimate alone"),
            ("guidance_scale)\n", "2.5)\n", "index [0, 2, 3, 5] of axis 0"),
            (
                "torch.full_like(labels, unwanted)",
                "torch.full_like(labels, 3)",
                "one of your values is?",
            ),
            ("return torch.lerp", "torch.lerp", "returns None"),
            ("        return steered", "        pass", "returns None"),
            (
                "            return torch",
                "            labels.fill_(unwanted)\n            return torch",
                "changes `labels`",
            ),
            (
                "            wanted, other",
                "            both_labels[:] = both_labels.roll(1)\n            wanted, other",
                "?",
            ),
        ],
        [
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "guidance_scale * wanted + (1 - guidance_scale) * other",
            ),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "other + guidance_scale * (denoise(xt, t, labels) - other)",
            ),
        ],
    ),
    "evaluation.frechet_diagonal": (
        "return ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
        [
            ("(std_a - std_b) ** 2", "(std_a**2 - std_b**2) ** 2", "not variances"),
            (".sum()", ".mean()", "mean_a.shape[0] times too small"),
            (".sum()", ".sum().sqrt()", "this is the root"),
            (" + (std_a - std_b) ** 2", "", "both the means"),
            ("(mean_a - mean_b) ** 2 + ", "", "both the means"),
            (
                "((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2)",
                "((mean_a - mean_b).abs() + (std_a - std_b).abs())",
                "square the gaps",
            ),
            ("(std_a - std_b) ** 2", "std_a**2 + std_b**2", "std_a - std_b"),
            (".sum()", "", "a number is wanted"),
            ("return (", "return 2 * (", "2 times the right one"),
            ("std_a - std_b", "std_a + std_b", "?"),
        ],
        [
            (".sum()", ".sum().item()"),
            (
                "return ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()",
                "return torch.dist(mean_a, mean_b) ** 2 + torch.dist(std_a, std_b) ** 2",
            ),
            (".sum()", ".sum(0, keepdim=True)"),
        ],
    ),
    "evaluation.predicted_scores": (
        "return 0.5, 0.2",
        [
            ("0.5, 0.2", "0.2, 0.5", "faithful; recall: one blob"),
            ("0.5, 0.2", "0.5, 0.5", "recall: one blob of five"),
            ("0.5, 0.2", "1.0, 0.2", "precision: half of what is made"),
            ("0.5, 0.2", "0.5, 0.8", "recall: one blob of five"),
            ("0.5, 0.2", "0.5", "2 results are wanted, (precision, recall)"),
            ("0.5, 0.2", "50, 20", "precision: 50 is not right"),
            ("0.5, 0.2", "0.1, 0.1", "precision: half of what is made"),
            ("0.5, 0.2", "math.nan, math.nan", "nan"),
        ],
        [("0.5, 0.2", "[1 / 2, 1 / 5]"), ("0.5, 0.2", "0.51, 0.19")],
    ),
    "evaluation.nearest_or_mirrored": (
        """
        plain, index = nearest_pictures(images, pool)
        flipped, other = nearest_pictures(images.flip(3), pool)
        return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)""",
        [
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return plain, index",
                "distances: compare the image and its mirror",
            ),
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return flipped, other",
                "distances: compare the image and its mirror",
            ),
            ("flip(3)", "flip(2)", "flip along the width"),
            ("torch.minimum", "torch.maximum", "the smaller of the two"),
            ("flipped < plain, other, index", "flipped > plain, other, index", "indices: "),
            ("torch.where(flipped < plain, other, index)", "index", "indices: an index belongs"),
            (
                "return torch.minimum(plain, flipped), torch.where(flipped < plain, other, index)",
                "return torch.where(flipped < plain, other, index), torch.minimum(plain, flipped)",
                "distances: the values should be of type",
            ),
            (
                "return torch.minimum(plain, flipped), torch",
                "return torch.minimum(plain, flipped) ** 2, torch",
                "the square of the right",
            ),
            (", torch.where(flipped < plain, other, index)", "", "2 results are wanted"),
            (
                "torch.where(flipped < plain, other, index)",
                "torch.where(flipped < plain, other + len(pool), index)",
                "indices: ",
            ),
        ],
        [
            ("flipped < plain, other, index", "plain <= flipped, index, other"),
            (
                "return torch.minimum(plain, flipped)",
                "return torch.stack([plain, flipped]).amin(0)",
            ),
        ],
    ),
    "evaluation.distance_at_infinity": (
        """
        u = 1 / sizes
        du, dd = u - u.mean(), distances - distances.mean()
        slope = (du * dd).mean() / (du * du).mean()
        return distances.mean() - slope * u.mean()""",
        [
            ("u = 1 / sizes", "u = sizes", "against 1 / N"),
            ("u = 1 / sizes", "u = sizes ** -0.5", "sqrt(N)"),
            ("return distances.mean() - slope * u.mean()", "return slope", "the slope"),
            (" - slope * u.mean()", "", "the line goes on"),
            ("return distances.mean() - slope * u.mean()", "return distances[-1]", "largest N"),
            ("mean() - slope", "mean() + slope", "?"),
            ("return distances.mean()", "return distances", "a number is wanted"),
            ("slope = (du * dd).mean()", "slope = (du * dd).sum()", "?"),
            ("return dist", "return -dist", "?"),
        ],
        [
            (
                "slope = (du * dd).mean() / (du * du).mean()",
                "slope = (du * dd).sum() / du.square().sum()",
            ),
            (
                "        u =",
                "        from numpy import polyfit\n"
                "        return polyfit(1 / sizes.numpy(), distances.numpy(), 1)[1]\n        u =",
            ),
        ],
    ),
}
PARAMETERS = {
    "mean": "x",
    "read_clocks": "code", "grid_dot": "rows_apart, columns_apart, dim", "my_merge": "mixed",
    "position_volume": "frames, height, width, dim", "time_code": "t, dim",
    "my_attention": "q, k, v",
    "my_predictions": "", "my_local_attention": "q, k, v, radius", "fold_pixels": "x",
    "pixels_seen": "before, after", "tokens_to_map": "tokens, height, width",
    "gated_update": "x, h, steering", "velocity_from_noise": "path, xt, noise_hat, t",
    "two_points_x0": "xt, alpha, sigma", "my_path": "", "euler": "velocity, noise, num_steps",
    "cosine_decay": "step, total_steps", "drop_labels": "labels, probability, null_label",
    "summed_gradient": "net, batches", "midpoint_step": "denoise, x, t, t_next",
    "images_seen": "steps", "foreseen": "x0_hat, x0_before, h, h_before",
    "steer_away": "denoise, labels, unwanted, guidance_scale", "predicted_scores": "",
    "frechet_diagonal": "mean_a, std_a, mean_b, std_b", "nearest_or_mirrored": "images, pool",
    "distance_at_infinity": "sizes, distances",
}  # fmt: skip


def answer(name: str, body: str) -> Any:
    """A function as a student writes it in a cell of its own, whose lines can be looked up."""
    short = name.split(".")[-1]
    text = f"def {short}({PARAMETERS[short]}):\n        {body.strip()}\n"
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(START, namespace)
    exec(compile(text, file, "exec"), namespace)
    return namespace[short]


def said(name: str, answer: Any, **options: Any) -> str:
    module, exercise = name.split(".")
    out = io.StringIO()
    with redirect_stdout(out):
        getattr(import_module(f"aetherfusion.lessons.{module}"), exercise)(answer, **options)
    assert out.getvalue().count("\n") == 1, out.getvalue()
    return out.getvalue().strip()


each = pytest.mark.parametrize("name", CORPUS)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELLS = [
    cell
    for path in NOTEBOOKS.glob("*.ipynb")
    for cell in json.loads(path.read_text())["cells"]
    if cell["cell_type"] == "code"
]


def changed(name: str, old: str, new: str) -> Any:
    solution = CORPUS[name][0]
    assert old in solution, (name, old)
    return answer(name, solution.replace(old, new))


@each
def test_right_answers_are_right_however_they_are_written(name: str) -> None:
    assert said(name, answer(name, CORPUS[name][0])).startswith("Right: ")
    for old, new in CORPUS[name][2]:
        assert said(name, changed(name, old, new)).startswith("Right: "), (old, new)


@pytest.fixture(scope="module")
def lines() -> dict[str, list[tuple[str, str, str]]]:
    """What the checks say to every wrong answer: (replacement, words wanted, line)."""
    return {
        name: [(new, words, said(name, changed(name, old, new))) for old, new, words in wrong]
        for name, (_, wrong, _) in CORPUS.items()
    }


@each
def test_wrong_answers_are_caught_and_named(lines: Any, name: str) -> None:
    assert len(lines[name]) >= 6 and len(CORPUS[name][2]) >= 2
    for new, words, line in lines[name]:
        assert line.startswith("Not yet: ") and words.strip("?") in line, (new, words, line)
        assert "the check itself" not in line, (new, line)


def test_rates(lines: Any) -> None:
    every = [(words, line) for name in lines for _, words, line in lines[name]]
    caught = sum(line.startswith("Not yet: ") for _, line in every)
    named = sum(not words.endswith("?") for words, _ in every)
    right = sum(len(others) + 1 for _, _, others in CORPUS.values())
    print(f"\n{len(every)} wrong answers, {caught / len(every):.1%} caught, ", end="")
    print(f"{named / len(every):.1%} named; {right} right ones, none refused")
    assert caught == len(every) and named >= 0.85 * len(every)


def test_the_corpus_has_every_exercise() -> None:
    assert len(CORPUS) == 27
    for module in {name.split(".")[0] for name in CORPUS}:
        names = vars(import_module(f"aetherfusion.lessons.{module}"))
        checks = {n for n, value in names.items() if hasattr(value, "__wrapped__")}
        assert {f"{module}.{n}" for n in checks} == {n for n in CORPUS if n.startswith(module)}


# What a student can do


@exercise(lambda: [torch.randn(1, 3, 4), torch.randn(1, 5, 2), torch.randn(1, 2, 7)])
def mean(x: torch.Tensor) -> Table:
    """the mean over the batch"""
    return x.mean(0), {"this is a sum": x.sum(0)}


def mean_of(text: str) -> Any:
    return answer("own.mean", text)


def say(given: Any, check: Any = mean, **options: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        check(given, **options)
    assert out.getvalue().count("\n") == 1, out.getvalue()
    return out.getvalue().strip()


@pytest.mark.parametrize(
    "body",
    [
        "return None  # your code here",
        "pass",
        "...",
        '"""What to do."""',
        '"""What to do."""\n        return None',
        "raise NotImplementedError",
        "raise NotImplementedError('your code here')",
    ],
)
def test_a_stub_is_not_written_yet(body: str) -> None:
    assert say(mean_of(body)) == "Not written yet: the mean over the batch"


@each
def test_the_stubs_of_the_notebooks_print_what_is_stored(name: str) -> None:
    module, exercise = name.split(".")
    call = f"check.{exercise}({exercise})"
    (cell,) = (cell for cell in CELLS if call in "".join(cell["source"]).splitlines())
    out = io.StringIO()
    with redirect_stdout(out):
        check = import_module(f"aetherfusion.lessons.{module}")
        exec("".join(cell["source"]), {"check": check})
    assert out.getvalue() == "".join(cell["outputs"][0]["text"])
    assert out.getvalue().startswith("Not written yet: ")


def test_a_module_s_stub_is_not_written_yet() -> None:
    class Stub(nn.Module):
        def forward(self, x: Any) -> Any:
            return None

    assert say(Stub()) == "Not written yet: the mean over the batch"


@pytest.mark.parametrize(
    "body",
    ["y = x.mean(0)", "x.mean(0)", "return print(x.mean(0))", "return x.sort() and None"],
)
def test_a_missing_return_is_not_an_untouched_stub(body: str) -> None:
    line = say(mean_of(body))
    assert line.startswith("Not yet: your function returns None; "), line
    assert "`return` missing?" in line and ("prints" in line) == ("print" in body)


@pytest.mark.parametrize(
    "body",
    [
        "y = 0\n        while y < 3:\n            x + 1\n        return y",
        "y = 0\n        while True:\n            pass",
        "y = 0\n        for y in iter(int, 1):\n            x + y",
        "y = 0\n        while True:\n            for y in x:\n                y + 1",
        "y = 0\n        while True:\n            try:\n                x + 1\n"
        "            except Exception:\n                pass",
    ],
)
def test_an_endless_loop_ends(body: str) -> None:
    line = say(mean_of(body), time_limit=0.2)
    found = re.fullmatch(r"Not yet: .* did not end within 0.2 s, in line (\d): `(.+)`", line)
    assert found and int(found[1]) >= 3, line
    assert found[2] == body.splitlines()[int(found[1]) - 2].strip()


def test_an_endless_loop_ends_in_another_thread_too() -> None:
    lines = []
    check = threading.Thread(
        target=lambda: lines.append(say(mean_of("while x is x: pass"), time_limit=0.2))
    )
    check.start()
    check.join(20)
    assert "did not end within 0.2 s" in lines[0]


def test_a_loop_that_catches_everything_ends() -> None:
    body = "while True:\n            try:\n                x + 1\n"
    body += "            except:\n                return x"
    line = say(mean_of(body), time_limit=0.2)
    assert line.startswith(
        ("Not yet: this is `x` as it came", "Not yet: your function did not end")
    )


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), threading.active_count()
    assert say(mean_of("return torch.rand(3)")).startswith("Not yet: ")
    say(mean_of("while True: pass"), time_limit=0.1)
    assert torch.equal(torch.get_rng_state(), state) and threading.active_count() == threads


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = x + 1\n        return y / 0 @ x", "raised RuntimeError: "),
        (
            "y = 1\n        return y.foo",
            "raised AttributeError: 'int' object has no attribute 'foo', in line 3: `return y.foo`",
        ),
        ("return x.reshape(3, 4)[0] * 0 + x.mean(0)", "in line 2: `return x.reshape(3, 4)[0]"),
        ("return mean(x)", "in line 2: `return mean(x)`"),
        ("raise SystemExit", "raised SystemExit, in line 2"),
        ("return F.linear(x, x, x, x, x)", "in line 2: `return F.linear"),
        ("return torch.ones(2, dtype=torch.half) @ nn.Linear(2, 2)(x)", "raised RuntimeError"),
    ],
)
def test_an_error_shows_the_student_s_own_line(body: str, words: str) -> None:
    line = say(mean_of(body), time_limit=5)
    assert line.startswith("Not yet: ") and words in line, line


def test_an_error_in_a_later_case_says_for_which_it_works() -> None:
    line = say(mean_of("return x.reshape(3, 4).mean(0)"))
    assert line.endswith("(with x of shape (5, 2); it works with x of shape (3, 4))"), line


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x += 1\n        return (x - 1).mean(0)", "changes `x`; use"),
        ("return x.sum(0)", "this is a sum"),
        ("return -x.mean(0)", "the sign is wrong"),
        ("return 3 * x.mean(0)", "3 times the right one"),
        ("return x.mean(0) + 2", "off by +2 everywhere"),
        ("return x.mean(0) * len(x)**0.5", "sqrt(x.shape[0]) times too large"),
        ("return x.mean(0) / x.shape[1]", "x.shape[1] times too small"),
        ("return x.mean(0) ** 2", "the square of"),
        ("return x.mean(0).abs()", "the abs of"),
        ("return x.mean(0).flip(0)", "reversed along axis 0"),
        ("return x.mean(0).roll(1)", "all the right values are there, in the wrong places"),
        ("return x.mean()", "the right result is averaged along axis 0"),
        ("return x.mean(0)[None]", "the shape should be (4,), and yours is (1, 4)"),
        ("return x.mean(0).tolist()", "a tensor is wanted, and yours is of type list"),
        ("return x.mean(0).numpy()", "a tensor is wanted, and yours is of type ndarray"),
        ("return x.mean(0).long()", "the values should be of type torch.float32"),
        ("return x.mean(0) / 0 * 0", "infinite or nan"),
        ("return 0 * x.mean(0)", "every value is 0"),
        (
            "return x.mean(0) * torch.tensor([1, 2.0])[[0] + [1] * (x.shape[1] - 1)]",
            "index [1, 2, 3] of axis 0 only",
        ),
        ("return x.mean(0) if len(x) == 3 else x[0]", "it is right with x of shape (3, 4)"),
        ("return x[0]", "one of your values is"),
        ("return x", "this is `x` as it came"),
        ("yield x", "of type generator"),
        ("return mean", "of type function"),
    ],
)
def test_a_property_explains_what_no_table_knows(body: str, words: str) -> None:
    line = say(mean_of(body))
    assert line.startswith("Not yet: ") and words in line, line


def test_what_is_not_a_function() -> None:
    assert say(torch.ones(4)) == "Not yet: a function is wanted, and yours is a Tensor"
    assert say(lambda: 1).startswith("Not yet: your function raised TypeError: ")
    assert say(nn.Flatten()).startswith("Not yet: ")
    assert say(torch.mean).startswith("Not yet: ")


@pytest.mark.parametrize("precision", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("recall", [0.1, 0.2, 0.3])
def test_predicted_scores_allow_0_1_either_way(precision: float, recall: float) -> None:
    line = said("evaluation.predicted_scores", lambda: (precision, recall))
    assert line.startswith("Right: "), line


@pytest.mark.parametrize(
    "scores", [(0.35, 0.2), (0.63, 0.2), (0.5, 0.05), (0.5, 0.35), (0.5, 0.0), (0.2, 0.2)]
)
def test_predicted_scores_allow_no_more(scores: tuple[float, float]) -> None:
    assert said("evaluation.predicted_scores", lambda: scores).startswith("Not yet: ")


def test_euler_is_the_first_order_sampler_of_the_package() -> None:
    def by_ddim(velocity: Any, noise: torch.Tensor, num_steps: int) -> torch.Tensor:
        def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x - t * velocity(x, t.expand(len(x)))

        return ddim(denoise, noise, time_grid(num_steps, tail=0))

    assert said("diffusion.euler", by_ddim).startswith("Right: ")


def test_a_module_can_be_an_answer() -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(0)

    assert say(Mean()) == "Right: the mean over the batch"


def test_the_student_is_not_blamed_for_the_check() -> None:
    @exercise(lambda: [(1,), (0,), (2,)])
    def broken(x: int) -> Table:
        """a broken check"""
        return 1 / x, {}

    line = say(lambda x: 1 / (x or 1), broken)
    assert line.startswith("Not yet: the check itself failed, and not your answer: ZeroDivision")


def test_a_check_may_say_what_is_wrong_itself() -> None:
    def run(student: Any, x: Any) -> Any:
        raise NotYet("so not")

    assert (
        say(lambda x: x, exercise(lambda: [torch.randn(1, 3, 4)], run=run)(mean.__wrapped__))
        == "Not yet: so not"
    )
