"""Answers to the exercises of lesson 01, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "my_order_gap": (
        "read, x",
        """
        from itertools import permutations
        first, gap = read(x), 0.0
        for order in permutations(range(len(x))):
            change = read(x[list(order)]) - first
            gap = max(gap, change.abs().max().item())
        return gap""",
        [
            ("permutations(range(len(x)))", "[range(len(x))[::-1]]", "one order only"),
            ("permutations(range(len(x)))", "list(permutations(range(len(x))))[-1:]", "one order"),
            ("change.abs().max()", "change.max()", "take the absolute value"),
            ("change.abs().max()", "change.abs().sum()", "the largest change of any entry"),
            ("change.abs().max()", "change.abs().mean()", "the largest change of any entry"),
            ("change.abs().max()", "change.norm()", "the largest change of any entry"),
            (" - first", "", "subtract read(x)"),
            ("x[list(order)]", "x[order]", "raised IndexError"),
            ("x[list(order)]", "x[:, list(order)]", "IndexError"),
            ("permutations(range(len(x)))", "permutations(range(3))", "one of your values is?"),
            ("return gap", "return gap / len(x)", "x.shape[0] times too small"),
            ("return gap", "return -gap", "the sign is wrong"),
            ("return gap", "return change", "a number is wanted"),
            ("return gap", "return gap == 0", "one of your values is?"),
            ("return gap", "print(gap)", "`return` missing"),
            ("read(x[list(order)]) - first", "read(x) - first", "one of your values is 0?"),
            ("gap = max(gap, change.abs().max().item())", "gap = change.abs().max().item()", "one"),
        ],
        [
            ("change.abs().max().item()", "float(change.abs().max())"),
            ("change.abs().max()", "abs(change).amax()"),
            ("return gap", "return torch.tensor(gap)"),
            ("read(x[list(order)]) - first", "first - read(torch.stack([x[i] for i in order]))"),
        ],
    ),
    "my_sinusoid": (
        "positions, dim",
        """
        i = torch.arange(dim // 2)
        speeds = 10_000.0 ** (-2 * i / dim)
        angles = positions[:, None] * speeds
        pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
        return pairs.flatten(1)""",
        [
            (
                "[angles.sin(), angles.cos()]",
                "[angles.cos(), angles.sin()]",
                "the sine comes first",
            ),
            ("-2 * i", "-i", "the exponent is -2i / dim"),
            ("-2 * i", "2 * i", "wrong at index"),
            ("arange(dim // 2)", "arange(1, dim // 2 + 1)", "i counts from 0"),
            ("dim=-1)", "dim=1)", "keep each pair together"),
            (
                "torch.stack([angles.sin(), angles.cos()], dim=-1)",
                "angles.sin()",
                "the shape should be (7, 6)",
            ),
            (
                "return pairs.flatten(1)",
                "return torch.cat([angles.cos(), angles.sin()], -1)",
                "keep each pair together",
            ),
            (
                "return pairs.flatten(1)",
                "k = torch.arange(dim)\n"
                "        a = positions[:, None] * 10_000.0 ** (-k / dim)\n"
                "        return torch.where(k % 2 == 0, a.sin(), a.cos())",
                "a pair has one speed",
            ),
            ("return pairs.flatten(1)", "return pairs", "the shape should be (7, 6)"),
            ("positions[:, None] * speeds", "positions * speeds", "raised RuntimeError"),
            ("arange(dim // 2)", "arange(dim)", "the shape should be (7, 6)"),
            ("arange(dim // 2)", "arange(3)", "the shape should be (4, 10)"),
            ("-2 * i / dim", "-2 * i // dim", "wrong at index"),
            ("10_000.0", "1_000.0", "wrong at index"),
            ("positions[:, None]", "(positions[:, None] + 1)", "one of your values is?"),
            ("return pairs.flatten(1)", "pairs.flatten(1)", "`return` missing"),
        ],
        [
            ("positions[:, None]", "positions.unsqueeze(-1).double()"),
            ("pairs.flatten(1)", "pairs.reshape(len(positions), dim)"),
            ("10_000.0 ** (-2 * i / dim)", "torch.exp(-math.log(10_000) * 2 * i / dim)"),
            (
                "return pairs.flatten(1)",
                "code = torch.zeros(len(positions), dim)\n"
                "        code[:, 0::2], code[:, 1::2] = angles.sin(), angles.cos()\n"
                "        return code",
            ),
        ],
    ),
    "my_turn": (
        "delta, dim",
        """
        matrix = torch.zeros(dim, dim)
        for i in range(dim // 2):
            b = delta * 10_000.0 ** (-2 * i / dim)
            matrix[2 * i, 2 * i] = matrix[2 * i + 1, 2 * i + 1] = math.cos(b)
            matrix[2 * i, 2 * i + 1] = math.sin(b)
            matrix[2 * i + 1, 2 * i] = -math.sin(b)
        return matrix""",
        [
            ("return matrix", "return matrix.T", "the minus belongs to the lower sine"),
            ("b = delta", "b = -delta", "the minus belongs to the lower sine"),
            ("= -math.sin(b)", "= math.sin(b)", "the minus belongs to the lower sine"),
            ("10_000.0 ** (-2 * i / dim)", "1.0", "yours turn alike"),
            ("-2 * i / dim", "-i / dim", "the exponent is -2i / dim"),
            ("-2 * i / dim", "2 * i / dim", "the exponent is -2i / dim"),
            ("delta * 10", "10", "delta is missing"),
            (
                "return matrix",
                "order = [*range(0, dim, 2), *range(1, dim, 2)]\n"
                "        return matrix[order][:, order]",
                "neighbours, 2i and 2i + 1",
            ),
            ("matrix[2 * i, 2 * i + 1] = math.sin(b)", "pass", "wrong at index"),
            ("range(dim // 2)", "range(3)", "it is right with"),
            ("range(dim // 2)", "range(dim)", "raised IndexError"),
            ("return matrix", "return -matrix", "the sign is wrong"),
            ("return matrix", "return matrix.flip(0)", "reversed along axis 0"),
            ("return matrix", "return matrix[:2, :2]", "the shape should be (6, 6)"),
            ("return matrix", "return matrix.tolist()", "a tensor is wanted"),
            ("b = delta", "b = int(delta)", "it is right with"),
            ("return matrix", "return matrix @ matrix", "one of your values is?"),
            (
                "return matrix",
                "k = torch.arange(dim)\n        return matrix[:, k + 1 - 2 * (k % 2)]",
                "in the wrong places",
            ),
        ],
        [
            ("-math.sin(b)", "math.sin(-b)"),
            ("torch.zeros(dim, dim)", "torch.zeros(dim, dim, dtype=torch.float64)"),
            ("return matrix", "return torch.linalg.inv(matrix).T"),
            (
                "return matrix",
                "c = [matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] for i in range(dim // 2)]\n"
                "        return torch.block_diag(*c)",
            ),
        ],
    ),
    "my_scores": (
        "encodings, w_q, w_k",
        """
        queries = encodings @ w_q.T
        keys = encodings @ w_k.T
        return queries @ keys.T""",
        [
            (
                "return queries @ keys.T",
                "return encodings @ w_q @ (encodings @ w_k).T",
                "lacks the",
            ),
            ("encodings @ w_q.T", "encodings @ w_q", "one of the projections lacks its .T"),
            ("encodings @ w_k.T", "encodings @ w_k", "one of the projections lacks its .T"),
            ("queries @ keys.T", "keys @ queries.T", "axes 0 and 1 are exchanged"),
            ("encodings @ w_k.T", "encodings", "keys by w_k"),
            ("encodings @ w_q.T", "encodings", "project queries by w_q"),
            ("queries @ keys.T", "encodings @ encodings.T", "project queries by w_q"),
            ("encodings @ w_k.T", "encodings @ w_q.T", "project queries by w_q"),
            ("encodings @ w_q.T", "encodings @ w_k.T", "project queries by w_q"),
            ("queries @ keys.T", "(queries @ keys.T).softmax(-1)", "the softmax comes in"),
            ("queries @ keys.T", "queries @ keys", "raised RuntimeError"),
            ("queries @ keys.T", "queries * keys", "the shape should be (5, 5)"),
            ("queries @ keys.T", "(queries * keys).sum(-1)", "the shape should be (5, 5)"),
            ("queries @ keys.T", "queries.T @ keys", "the shape should be (5, 5)"),
            ("queries @ keys.T", "queries @ keys.T / len(w_q) ** 0.5", "times too small"),
            ("encodings @ w_q.T", "w_q @ encodings", "raised RuntimeError"),
        ],
        [
            ("encodings @ w_q.T", "F.linear(encodings, w_q)"),
            ("encodings @ w_q.T", "(w_q @ encodings.T).T"),
            ("queries @ keys.T", "encodings @ w_q.T @ w_k @ encodings.T"),
            ("queries @ keys.T", "torch.einsum('pd,rd->pr', queries, keys)"),
        ],
    ),
    "keep_encoding": (
        "module, d_model, max_len",
        """
        table = sinusoid(torch.arange(max_len), d_model)
        module.register_buffer("encoding", table, persistent=False)""",
        [
            (", persistent=False", "", "would be saved"),
            (", persistent=False", ", persistent=True", "would be saved"),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                "module.encoding = table",
                "no buffer is named",
            ),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                "module.encoding = nn.Parameter(table)",
                "a parameter would be trained",
            ),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                'module.register_parameter("encoding", nn.Parameter(table))',
                "a parameter would be trained",
            ),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                "return table",
                "no buffer is named",
            ),
            ('"encoding"', '"table"', "no buffer is named"),
            ("arange(max_len)", "arange(1, max_len + 1)", "0 to max_len - 1"),
            ("arange(max_len)", "arange(max_len + 1)", "0 to max_len - 1"),
            ("arange(max_len)", "arange(d_model)", "the shape should be (9, 6)"),
            (
                "sinusoid(torch.arange(max_len), d_model)",
                "torch.arange(max_len)",
                "the shape should be (9, 6)",
            ),
            (
                "sinusoid(torch.arange(max_len), d_model)",
                "torch.zeros(max_len, d_model)",
                "every value is 0",
            ),
            ("(max_len), d_model)", "(max_len), d_model).T", "axes 0 and 1 are exchanged"),
            ("(max_len), d_model)", "(max_len), d_model)[None]", "the shape should be (9, 6)"),
            ("torch.arange(max_len), d", "max_len, d", "raised AttributeError"),
            ("torch.arange(max_len)", "torch.arange(9)", "the shape should be (4, 10)"),
        ],
        [
            ("table, persistent=False)", "table, False)\n        return module"),
            ("(max_len), d_model", "(max_len).float(), dim=d_model"),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                "module.encoding = nn.Buffer(table, persistent=False)",
            ),
            (
                'module.register_buffer("encoding", table, persistent=False)',
                'module.register_buffer("encoding", None, persistent=False)\n'
                "        module.encoding = table",
            ),
        ],
    ),
    "add_positions": (
        "x, table",
        """
        n = x.shape[1]
        rows = table[:n].to(x.dtype)
        return x + rows""",
        [
            ("table[:n]", "table", "raised RuntimeError"),
            ("x.shape[1]", "x.shape[0]", "raised RuntimeError"),
            ("x.shape[1]", "x.shape[2]", "raised RuntimeError"),
            ("x.shape[1]", "len(x)", "raised RuntimeError"),
            (".to(x.dtype)", "", "convert the rows"),
            (".to(x.dtype)", ".half()", "not always to half"),
            ("x + rows", "x - rows", "add the rows to x"),
            ("x + rows", "x * rows", "one of your values is?"),
            ("x + rows", "rows", "add the rows to x"),
            ("x + rows", "torch.cat([x, rows.expand_as(x)], -1)", "the shape should be (4, 5, 6)"),
            ("table[:n]", "table[-n:]", "token n gets row n"),
            ("table[:n]", "table[0]", "token n gets row n"),
            ("table[:n]", "table[1 : n + 1]", "token n gets row n"),
            ("return x + rows", "x += rows\n        return x", "changes `x`"),
            ("return x + rows", "x + rows", "`return` missing"),
            ("x.shape[1]", "5", "it works with"),
            ("x + rows", "x", "this is `x` as it came"),
            ("table[:n]", "table[:, :n]", "raised RuntimeError"),
        ],
        [
            ("table[:n].to(x.dtype)", "table[: x.shape[-2]].type_as(x)"),
            ("return x + rows", "return x + rows[None]"),
            ("return x + rows", "return torch.stack([word + rows for word in x])"),
            ("return x + rows", "return (x.float() + table[:n]).to(x.dtype)"),
        ],
    ),
    "my_grid": (
        "height, width, dim",
        """
        rows = sinusoid(torch.arange(height), dim // 2)
        columns = sinusoid(torch.arange(width), dim // 2)
        rows = rows[:, None].expand(height, width, dim // 2)
        columns = columns[None].expand(height, width, dim // 2)
        return torch.cat([rows, columns], dim=-1).flatten(0, 1)""",
        [
            ("[rows, columns]", "[columns, rows]", "the row comes first"),
            ("flatten(0, 1)", "transpose(0, 1).flatten(0, 1)", "list the cells row by row"),
            (".flatten(0, 1)", "", "the shape should be (6, 8)"),
            ("torch.cat([rows, columns], dim=-1)", "(rows + columns)", "you add them"),
            ("[rows, columns]", "[rows, rows]", "the row comes first, then the column"),
            ("[rows, columns]", "[columns, columns]", "the row comes first, then the column"),
            (
                "return torch",
                "return sinusoid(torch.arange(height * width), dim)\n        torch",
                "not the number of the cell",
            ),
            (
                "return torch.cat([rows, columns], dim=-1)",
                "a = sinusoid(torch.arange(height), dim)[:, None]\n"
                "        return (a + sinusoid(torch.arange(width), dim))",
                "you add them",
            ),
            (
                "return torch.cat([rows, columns], dim=-1)",
                "a = sinusoid(torch.arange(height), dim)[:, None].expand(-1, width, -1)\n"
                "        b = sinusoid(torch.arange(width), dim)[None].expand(height, -1, -1)\n"
                "        return torch.cat([a, b], dim=-1)",
                "the shape should be (6, 8)",
            ),
            ("dim=-1", "dim=0", "the shape should be (6, 8)"),
            ("rows[:, None]", "rows[None]", "raised RuntimeError"),
            ("arange(height)", "arange(width)", "raised RuntimeError"),
            ("flatten(0, 1)", "reshape(6, 8)", "it works with"),
            ("arange(height), dim // 2", "arange(height) + 1, dim // 2", "wrong at"),
            ("arange(height), dim // 2)", "arange(height), dim // 2, 20.0)", "wrong at"),
            ("flatten(0, 1)", "flatten(0, 1).T", "axes 0 and 1 are exchanged"),
        ],
        [
            ("flatten(0, 1)", "reshape(-1, dim)"),
            ("rows[:, None].expand(height, width, dim // 2)", "rows[:, None].repeat(1, width, 1)"),
            (
                "return torch",
                "cells = [torch.cat([rows[r, 0], columns[0, c]])"
                " for r in range(height) for c in range(width)]\n"
                "        return torch.stack(cells)\n        torch",
            ),
            (
                "return torch",
                "k = torch.arange(height * width)\n"
                "        parts = [sinusoid(k // width, dim // 2), sinusoid(k % width, dim // 2)]\n"
                "        return torch.cat(parts, 1)\n        torch",
            ),
        ],
    ),
    "my_moving_entries": (
        "encodings",
        """
        low, high = encodings.amin(0), encodings.amax(0)
        moves = high - low > 0.2
        return int(moves.sum())""",
        [
            ("high - low > 0.2", "(encodings[-1] - encodings[0]).abs() > 0.2", "can come back"),
            ("high - low > 0.2", "encodings[-1] - encodings[0] > 0.2", "can come back"),
            ("high - low > 0.2", "high - low <= 0.2", "the entries that stay"),
            ("high - low > 0.2", "high > 0.2", "its largest value minus its smallest"),
            ("high - low > 0.2", "encodings.std(0) > 0.2", "its largest value minus its smallest"),
            ("high - low > 0.2", "(encodings - encodings[0]).abs() > 0.2", "count entries, not"),
            ("amin(0), encodings.amax(0)", "amin(1), encodings.amax(1)", "the positions, axis 0"),
            ("moves.sum()", "moves.sum() / len(moves)", "every value is 0"),
            ("int(moves.sum())", "moves.float().mean()", "encodings.shape[1] times too small"),
            ("int(moves.sum())", "moves", "a number is wanted"),
            ("int(moves.sum())", "(high - low)[moves].sum()", "one of your values is?"),
            ("> 0.2", "> 0.5", "one of your values is?"),
            ("high - low > 0.2", "encodings.diff(dim=0).abs().sum(0) > 0.2", "is right with"),
            ("high - low > 0.2", "low - high > 0.2", "every value is 0"),
            ("encodings.amin(0), encodings.amax(0)", "encodings.min(), encodings.max()", "value"),
            ("int(moves.sum())", "len(moves)", "?"),
            ("encodings.amin(0)", "encodings.min(0)", "raised TypeError"),
        ],
        [
            ("int(moves.sum())", "moves.sum()"),
            ("int(moves.sum())", "len(moves.nonzero())"),
            ("encodings.amin(0), encodings.amax(0)", "encodings.min(0)[0], encodings.max(0)[0]"),
            ("int(moves.sum())", "sum(1 for move in moves if move)"),
        ],
    ),
    "time_code": (
        "t, dim",
        "return sinusoid(1000 * t, dim)",
        [
            ("1000 * t", "1000 * t.long()", "keep its fraction"),
            ("1000 * t", "(1000 * t).long()", "keep its fraction"),
            ("1000 * t", "(1000 * t).round()", "keep its fraction"),
            ("1000 * t", "(1000 * t).ceil()", "keep its fraction"),
            ("1000 * t", "t.round() * 1000", "keep its fraction"),
            ("1000 * t", "t", "count in thousandths"),
            ("1000 * t", "100 * t", "count in thousandths"),
            ("1000 * t", "10_000 * t", "count in thousandths"),
            ("sinusoid(1000 * t, dim)", "1000 * sinusoid(t, dim)", "not its encoding"),
            ("1000 * t, dim)", "1000 * t, dim).T", "axes 0 and 1 are exchanged"),
            ("return sinusoid(1000 * t", "t *= 1000\n        return sinusoid(t", "changes `t`"),
            ("1000 * t, dim)", "1000 * t, 16)", "the shape should be (4, 10)"),
            ("1000 * t", "1000 + t", "one of your values is?"),
            ("1000 * t", "1000", "raised AttributeError"),
            ("1000 * t", "torch.arange(len(t))", "one of your values is?"),
            ("return ", "", "`return` missing"),
        ],
        [
            ("1000 * t", "t / 0.001"),
            ("1000 * t", "1000 * t.double()"),
            ("return sinusoid(1000 * t, dim)", "t = 1000 * t\n        return sinusoid(t, dim)"),
            ("sinusoid(1000 * t, dim)", "torch.stack([sinusoid(x, dim) for x in 1000 * t])"),
        ],
    ),
    "my_rotate": (
        "x, positions",
        """
        encodings = sinusoid(positions, x.shape[1])
        sin, cos = encodings[:, 0::2], encodings[:, 1::2]
        a, b = x[:, 0::2], x[:, 1::2]
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
        return turned.flatten(1)""",
        [
            (
                "[a * cos - b * sin, a * sin + b * cos]",
                "[a * cos + b * sin, b * cos - a * sin]",
                "the other way",
            ),
            ("a, b = x[:, 0::2], x[:, 1::2]", "a, b = x.chunk(2, dim=1)", "pairs are neighbours"),
            ("dim=-1)", "dim=1)", "keep each pair together"),
            ("sin, cos =", "cos, sin =", "exchange sine and cosine"),
            ("a * cos - b * sin", "a * cos + b * sin", "one minus"),
            ("turned.flatten(1)", "x + encodings", "you add or multiply"),
            ("turned.flatten(1)", "x * encodings", "you add or multiply"),
            ("a, b = x[:, 0::2], x[:, 1::2]", "b, a = x[:, 0::2], x[:, 1::2]", "one of your?"),
            (
                "encodings[:, 0::2], encodings[:, 1::2]",
                "encodings[:, :1], encodings[:, 1:2]",
                "wrong at index",
            ),
            ("turned.flatten(1)", "turned", "the shape should be (5, 6)"),
            (
                "encodings[:, 0::2], encodings[:, 1::2]",
                "positions.sin(), positions.cos()",
                "raised",
            ),
            ("sinusoid(positions, x.shape[1])", "sinusoid(positions, 6)", "it works with"),
            ("sinusoid(positions, ", "sinusoid(positions.long(), ", "one of your values is?"),
            ("sinusoid(positions, ", "sinusoid(torch.arange(len(x)), ", "one of your values is?"),
            ("turned.flatten(1)", "turned.flatten()", "the shape should be (5, 6)"),
            ("a * sin + b * cos]", "b * cos]", "wrong at index"),
            ("turned.flatten(1)", "x", "this is `x` as it came"),
        ],
        [
            ("turned.flatten(1)", "turned.reshape(x.shape)"),
            ("a * cos - b * sin, a * sin + b * cos", "cos * a - sin * b, cos * b + sin * a"),
            ("x[:, 0::2], x[:, 1::2]", "x.unflatten(-1, (-1, 2)).unbind(-1)"),
            (
                "return turned.flatten(1)",
                "z = torch.complex(a, b) * torch.complex(cos, sin)\n"
                "        return torch.view_as_real(z).flatten(1)",
            ),
        ],
    ),
    "read_clocks": (
        "encodings",
        """
        angle = torch.atan2(encodings[:, 6], encodings[:, 7]) % (2 * math.pi)
        return angle / 0.001""",
        [
            (" % (2 * math.pi)", "", "modulo 2 pi"),
            (" % (2 * math.pi)", " % math.pi", "modulo 2 pi"),
            (
                "encodings[:, 6], encodings[:, 7]",
                "encodings[:, 7], encodings[:, 6]",
                "the sine comes first",
            ),
            (" / 0.001", "", "times the right one"),
            (" / 0.001", " * 0.001", "times the right one"),
            ("6], encodings[:, 7", "0], encodings[:, 1", "the fastest clock"),
            (" % (2 * math.pi)", ".abs()", "take atan2 of both, modulo 2 pi"),
            (
                "torch.atan2(encodings[:, 6], encodings[:, 7])",
                "torch.atan(encodings[:, 6] / encodings[:, 7])",
                "repeats after half a turn",
            ),
            (
                "torch.atan2(encodings[:, 6], encodings[:, 7])",
                "encodings[:, 7].acos()",
                "take atan2 of both",
            ),
            (
                "torch.atan2(encodings[:, 6], encodings[:, 7])",
                "encodings[:, 6].asin()",
                "wrong at",
            ),
            ("angle / 0.001", "(angle / 0.001)[:8]", "the shape should be (11,)"),
            ("angle / 0.001", "(angle / 0.001).long()", "torch.int64"),
            ("angle / 0.001", "angle / 0", "nan"),
            ("angle / 0.001", "(angle / 0.001).tolist()", "a tensor is wanted"),
            ("angle / 0.001", "-angle / 0.001", "the sign is wrong"),
            ("angle / 0.001", "angle / 0.01", "0.1 times the right one"),
            ("[:, 6], encodings[:, 7]", "[6], encodings[7]", "the shape should be (11,)"),
        ],
        [
            ("angle / 0.001", "1000 * angle"),
            ("encodings[:, 6]", "encodings.double()[..., -2]"),
            ("torch.atan2(encodings[:, 6], encodings[:, 7])", "torch.atan2(*encodings[:, 6:].T)"),
            (
                " % (2 * math.pi)",
                "\n        angle = torch.where(angle < 0, angle + math.tau, angle)",
            ),
        ],
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
            ("math.cos(w * rows_apart) + math", "math.cos(w * rows_apart) #", "axes is missing"),
            (") + math", ") * math", "one of your values is?"),
            (
                "math.cos(w * rows_apart) + math.cos(w * columns_apart)",
                "math.cos(w * (rows_apart + columns_apart))",
                "clocks of their own",
            ),
            (
                "math.cos(w * rows_apart) + math.cos(w * columns_apart)",
                "math.cos(w * math.hypot(rows_apart, columns_apart))",
                "clocks of their own",
            ),
            ("return total", "return -total", "the sign is wrong"),
            ("return total", "return 2 * total", "2 times the right one"),
            ("return total", "return total / dim", "dim times too small"),
            ("range(width // 2)", "range(2)", "is right"),
            ("return total", "return [total]", "a number is wanted"),
            ("return total", "return total + 1", "off by +1"),
            ("-2 * i", "2 * i", "one of your values is?"),
            ("total +=", "total =", "every value is 2"),
        ],
        [
            ("return total", "return torch.tensor(total)"),
            ("math.cos(w * rows_apart)", "math.sin(w * rows_apart + math.pi / 2)"),
            ("range(width // 2)", "torch.arange(width // 2).tolist()"),
            ("10_000 ** (-2 * i / width)", "1 / 10_000 ** (4 * i / dim)"),
        ],
    ),
    "position_volume": (
        "frames, height, width, dim",
        """
        axes = [torch.arange(n) for n in (frames, height, width)]
        places = torch.meshgrid(*axes, indexing="ij")
        thirds = [sinusoid(place, dim // 3) for place in places]
        return torch.cat(thirds, dim=-1).reshape(-1, dim)""",
        [
            (".reshape(-1, dim)", "", "the shape should be (24, 12)"),
            ('"ij"', '"xy"', "the frame changes slowest"),
            (
                "torch.cat(thirds, dim=-1).reshape(-1, dim)",
                "sum(thirds).flatten(0, 2)",
                "are added",
            ),
            ("torch.cat(thirds", "torch.cat(thirds[::-1]", "in the order frame, row, column"),
            ("torch.cat(thirds", "torch.cat(thirds[1:] + thirds[:1]", "frame, row, column"),
            (".reshape(-1", ".transpose(1, 2).reshape(-1", "then the row"),
            (".reshape(-1", ".permute(1, 2, 0, 3).reshape(-1", "the frame changes slowest"),
            ("dim // 3", "dim // 3, 100.0", "at index"),
            ("place, dim", "place + 1, dim", "one of your values is?"),
            ("reshape(-1, dim)", "reshape(-1, 12)", "with frames=4"),
            (".reshape(-1, dim)", ".flatten(1, 2)", "the shape should be (24, 12)"),
            ("dim // 3", "dim", "the shape should be (24, 12)"),
            ("dim // 3", "dim // 2", "the shape should be (24, 12)"),
            ("dim=-1", "dim=0", "in the wrong places"),
            ("(frames, height, width)", "(frames, width, height)", "in the wrong places"),
            ("(-1, dim)", "(dim, -1)", "the shape should be (24, 12)"),
        ],
        [
            (
                "torch.cat(thirds, dim=-1).reshape(-1, dim)",
                "torch.cat(thirds, 3).flatten(0, 2).double()",
            ),
            ("place, dim", "place.double(), dim"),
            (
                "torch.cat(thirds, dim=-1).reshape(-1, dim)",
                "torch.cat([third.flatten(0, 2) for third in thirds], 1)",
            ),
            ("torch.meshgrid(*axes, indexing", "torch.meshgrid(axes, indexing"),
        ],
    ),
    "choose_period": (
        "n, dim, candidates",
        """
        for max_period in sorted(candidates):
            slowest = max_period ** (-(dim - 2) / dim)
            if slowest * (n - 1) <= math.pi:
                return max_period
        return None""",
        [
            ("<= math.pi", "<= 2 * math.pi", "half a turn is pi"),
            ("(n - 1)", "n", "n - 1 steps"),
            ("max_period ** (-(dim - 2) / dim)", "1 / max_period", "is not 1 / max_period"),
            ("sorted(candidates)", "candidates", "the list is not sorted"),
            ("sorted(candidates)", "sorted(candidates, reverse=True)", "the smallest that fits"),
            ("<= math.pi", ">= math.pi", "more than half a turn"),
            ("return max_period", "return slowest", "max_period itself"),
            ("return max_period", "return candidates.index(max_period)", "max_period itself"),
            ("(-(dim - 2) / dim)", "((dim - 2) / dim)", "`return` missing"),
            ("(n - 1) <= math.pi", "(n - 1) <= 180", "more than half a turn"),
            ("sorted(candidates)", "sorted(candidates)[:1]", "`return` missing"),
            ("return max_period", "return True", "max_period itself"),
            ("(-(dim - 2) / dim)", "(-(dim - 1) / dim)", "one of your values is?"),
            ("return max_period", "return [max_period]", "a number is wanted"),
        ],
        [
            (
                "for max_period in sorted(candidates):",
                "i = dim // 2 - 1\n        for max_period in sorted(candidates):",
            ),
            ("max_period ** (-(dim - 2) / dim)", "1 / max_period ** (1 - 2 / dim)"),
            ("slowest * (n - 1) <= math.pi", "not slowest * (n - 1) > math.pi"),
            (
                "return None",
                "",
            ),
        ],
    ),
    "rotate_grid": (
        "x, height, width",
        """
        cell, d = torch.arange(height * width), x.shape[1]
        places = [cell // width, cell % width]
        encodings = torch.cat([sinusoid(place, d // 2) for place in places], dim=1)
        sin, cos = encodings[:, 0::2], encodings[:, 1::2]
        a, b = x[:, 0::2], x[:, 1::2]
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
        return turned.flatten(1)""",
        [
            ("a * cos - b * sin, a * sin + b", "a * cos + b * sin, -a * sin + b", "the other way"),
            (
                "[cell // width, cell % width]",
                "[cell % width, cell // width]",
                "the row turns the first half",
            ),
            (
                "[cell // width, cell % width]",
                "[cell // width] * 2",
                "the row turns the first half",
            ),
            ("[cell // width, cell % width]", "[cell % width] * 2", "the row turns the first half"),
            ("cell // width, cell % width", "cell // height, cell % height", "wrong at index"),
            (
                "torch.cat([sinusoid(place, d // 2) for place in places], dim=1)",
                "sinusoid(cell, d)",
                "not by the number of the cell",
            ),
            (
                "torch.cat([sinusoid(place, d // 2) for place in places], dim=1)",
                "torch.cat([sinusoid(place, d)[:, : d // 2] for place in places], dim=1)",
                "clocks of its own",
            ),
            ("return turned.flatten(1)", "return x + encodings", "instead of adding"),
            ("for place in places], dim=1", "for place in places], dim=0", "raised RuntimeError"),
            ("d // 2", "d", "raised RuntimeError"),
            ("d // 2", "4", "it works with"),
            ("turned.flatten(1)", "turned", "the shape should be (6, 8)"),
            ("turned.flatten(1)", "x", "this is `x` as it came"),
            ("a * cos - b * sin", "a * cos + b * sin", "wrong at index"),
            ("dim=-1)", "dim=1)", "in the wrong places"),
        ],
        [
            ("turned.flatten(1)", "turned.reshape(len(x), d)"),
            ("cell // width", "torch.arange(height).repeat_interleave(width)"),
            ("cell % width", "torch.arange(width).repeat(height)"),
            (
                "return turned.flatten(1)",
                "z = torch.complex(a, b) * torch.complex(cos, sin)\n"
                "        return torch.view_as_real(z).flatten(1)",
            ),
        ],
    ),
    "look_back": (
        "steps, w_k",
        """
        dim = len(w_k)
        blocks = []
        for i in range(dim // 2):
            b = -steps * 10_000.0 ** (-2 * i / dim)
            blocks.append(torch.tensor([[math.cos(b), math.sin(b)], [-math.sin(b), math.cos(b)]]))
        back = torch.block_diag(*blocks)
        return torch.linalg.inv(w_k).T @ back""",
        [
            ("-steps", "steps", "this looks to the right"),
            ("inv(w_k).T @ back", "inv(w_k) @ back", "has to be transposed"),
            ("torch.linalg.inv(w_k).T @ back", "back @ torch.linalg.inv(w_k).T", "turn first"),
            ("torch.linalg.inv(w_k).T @ back", "back @ torch.linalg.inv(w_k)", "turn first"),
            ("torch.linalg.inv(w_k).T @ back", "w_k.T @ back", "undo w_k"),
            ("torch.linalg.inv(w_k).T @ back", "w_k @ back", "undo w_k"),
            ("torch.linalg.inv(w_k).T @ back", "back", "undo w_k"),
            (
                "torch.linalg.inv(w_k).T @ back",
                "torch.linalg.inv(w_k).T",
                "the rotation is missing",
            ),
            (
                "torch.linalg.inv(w_k).T @ back",
                "(torch.linalg.inv(w_k).T @ back).T",
                "axes 0 and 1 are exchanged",
            ),
            ("torch.linalg.inv(w_k).T", "torch.linalg.inv(w_k.T @ w_k)", "one of your values is?"),
            ("linalg.inv(w_k)", "linalg.inv(back)", "one of your values is?"),
            ("-2 * i / dim", "-i / dim", "wrong at index"),
            ("torch.linalg.inv(w_k)", "(1 / w_k)", "?"),
            ("-steps", "-2", "it is right with"),
            ("range(dim // 2)", "range(3)", "raised RuntimeError"),
            ("-steps * ", "-", "?"),
        ],
        [
            ("torch.linalg.inv(w_k).T @ back", "torch.linalg.solve(w_k.T, back)"),
            ("torch.linalg.inv(w_k).T @ back", "(back.T @ torch.linalg.inv(w_k)).T"),
            ("torch.linalg.inv(w_k).T", "torch.linalg.inv(w_k.T)"),
            ("torch.linalg.inv(w_k).T", "torch.inverse(w_k.double()).T.float()"),
        ],
    ),
}
