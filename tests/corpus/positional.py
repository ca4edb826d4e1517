"""Answers to the exercises of lesson 01, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "read_clocks": (
        "code",
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
    "grid_dot": (
        "rows_apart, columns_apart, dim",
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
    "position_volume": (
        "frames, height, width, dim",
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
    "time_code": (
        "t, dim",
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
}
