"""Answers to the exercises of lesson 03, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "fold_pixels": (
        "x",
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
    "pixels_seen": (
        "before, after",
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
    "tokens_to_map": (
        "tokens, height, width",
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
    "gated_update": (
        "x, h, steering",
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
}
