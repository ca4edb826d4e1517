"""Answers to the exercises of lesson 02, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "my_output": (
        "query, keys, values",
        """
        exps = []
        for key in keys:
            exps.append(torch.exp(query @ key / math.sqrt(len(query))))
        output = torch.zeros_like(values[0])
        for exp, value in zip(exps, values):
            output = output + exp / sum(exps) * value
        return output""",
        [
            (" / math.sqrt(len(query))", "", "divide the scores by sqrt(d)"),
            ("math.sqrt(len(query))", "len(query)", "divide the scores by sqrt(d)"),
            ("math.sqrt(len(query))", "math.sqrt(len(keys))", "divide the scores by sqrt(d)"),
            ("key / math", "key * math", "divide the scores by sqrt(d)"),
            (" / sum(exps)", "", "divide by the sum of the exponentials"),
            (" / sum(exps)", " / len(exps)", "one of your values is?"),
            ("torch.exp(", "(", "take exp of each score"),
            ("output = output + exp", "output = exp", "this is the last one"),
            ("return output", "return torch.stack(exps) / sum(exps)", "these are the weights"),
            ("= output + exp / sum(exps) * value", "= output + value / len(keys)", "one of your"),
            ("len(query)", "3", "it is right with"),
            ("zip(exps, values)", "zip(exps[1:], values[1:])", "one of your values is?"),
            ("in keys", "in values", "RuntimeError"),
            ("return output", "output", "is a `return` missing?"),
            ("torch.zeros_like(values[0])", "torch.zeros(len(query))", "RuntimeError"),
        ],
        [
            (
                "return output",
                "return (keys @ query / math.sqrt(len(query))).softmax(0) @ values",
            ),
            ("sum(exps) * value", "torch.stack(exps).sum() * value"),
            ("math.sqrt(len(query))", "keys.shape[1] ** 0.5"),
            ("output = output + exp / sum(exps) * value", "output += exp / sum(exps) * value"),
            ("torch.zeros_like(values[0])", "0"),
        ],
    ),
    "my_attention": (
        "q, k, v",
        """
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return scores.softmax(dim=-1) @ v""",
        [
            (" / math.sqrt(q.shape[-1])", "", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "q.shape[-1]", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-2])", "d is the width of a head"),
            ("/ math.sqrt", "* math.sqrt", "divide the scores by sqrt(d)"),
            ("dim=-1", "dim=-2", "the softmax takes the wrong axis"),
            ("dim=-1", "dim=1", "the softmax takes the wrong axis"),
            (".softmax(dim=-1)", "", "the softmax is missing"),
            ("q @ k.transpose", "k @ q.transpose", "exchanged"),
            (" @ v", "", "the shape should be (2, 3, 5, 6), and yours is (2, 3, 5, 5)"),
            ("scores.softmax(dim=-1)", "(2 * scores).softmax(dim=-1)", "one of your values is?"),
            ("math.sqrt(q.shape[-1])", "2", "one of your values is?"),
            ("k.transpose(-1, -2)", "k", "RuntimeError"),
            ("math.sqrt(q.shape[-1])", "math.sqrt(6)", "it is right with q of shape (2, 3, 5, 6)"),
        ],
        [
            (" / math.sqrt(q.shape[-1])", " * k.size(3) ** -0.5"),
            ("scores.softmax(dim=-1)", "(scores.exp() / scores.exp().sum(-1, keepdim=True))"),
            ("q @ k.transpose(-1, -2)", "torch.einsum('bhid,bhjd->bhij', q, k)"),
            ("scores.softmax(dim=-1) @ v", "F.scaled_dot_product_attention(q, k, v)"),
        ],
    ),
    "my_split": (
        "part, num_heads",
        """
        B, N, D = part.shape
        part = part.reshape(B, N, num_heads, D // num_heads)
        return part.transpose(1, 2)""",
        [
            (
                "part.reshape(B, N, num_heads, D // num_heads)\n        "
                "return part.transpose(1, 2)",
                "part.reshape(B, num_heads, N, D // num_heads)\n        return part",
                "reshape alone mixes tokens",
            ),
            (
                "num_heads, D // num_heads)\n        return part.transpose(1, 2)",
                "D // num_heads, num_heads)\n        return part.permute(0, 3, 1, 2)",
                "cut off num_heads pieces",
            ),
            (".transpose(1, 2)", "", "axes 1 and 2 are exchanged"),
            ("transpose(1, 2)", "transpose(2, 3)", "the shape should be?"),
            ("transpose(1, 2)", "permute(0, 2, 3, 1)", "tokens and entries are exchanged"),
            ("transpose(1, 2)", "transpose(1, 3)", "tokens and entries are exchanged"),
            ("transpose(1, 2)", "transpose(0, 1)", "the shape should be?"),
            ("transpose(1, 2)", "transpose(1, 2).flip(1)", "reversed along axis 1"),
            ("D // num_heads)", "3)", "it works with part of shape (2, 5, 6)"),
            ("D // num_heads)", "D)", "RuntimeError"),
            ("D // num_heads)", "D / num_heads)", "TypeError"),
            ("B, N, D =", "B, D, N =", "RuntimeError"),
            ("return part.transpose(1, 2)", "part.transpose(1, 2)", "is a `return` missing?"),
            ("return part", "return list(part.chunk(num_heads, -1)) and part[0]", "the shape?"),
        ],
        [
            ("reshape(B, N, num_heads, D // num_heads)", "unflatten(-1, (num_heads, -1))"),
            ("return part.transpose(1, 2)", "return part.permute(0, 2, 1, 3)"),
            ("reshape", "view"),
            (
                "part = part.reshape(B, N, num_heads, D // num_heads)\n"
                "        return part.transpose(1, 2)",
                "return torch.stack(part.split(D // num_heads, dim=-1), dim=1)",
            ),
        ],
    ),
    "my_merge": (
        "mixed",
        """
        mixed = mixed.transpose(1, 2)
        return mixed.flatten(2)""",
        [
            ("mixed.transpose(1, 2)", "mixed", "the shape should be?"),
            (
                "return mixed.flatten(2)",
                "return mixed.transpose(1, 2).reshape(len(mixed), mixed.shape[1], -1)",
                "mixes tokens",
            ),
            ("transpose(1, 2)", "permute(0, 2, 3, 1)", "interleaved"),
            (
                "mixed = mixed.transpose(1, 2)\n        return mixed.flatten(2)",
                "return mixed.mean(1)",
                "lay them side by side",
            ),
            (
                "mixed = mixed.transpose(1, 2)\n        return mixed.flatten(2)",
                "return mixed.sum(1)",
                "lay them side by side",
            ),
            (".flatten(2)", "", "the shape should be (2, 5, 18)"),
            ("mixed.transpose", "mixed.flip(1).transpose", "in the wrong places"),
            ("transpose(1, 2)", "transpose(1, 3)", "the shape should be (2, 5, 18)"),
            ("flatten(2)", "flatten(1)", "the shape should be"),
            (".flatten(2)", ".reshape(2, 5, 18)", "RuntimeError"),
            (
                "mixed = mixed.transpose(1, 2)\n        return mixed.flatten(2)",
                "return mixed",
                "`mixed` as it came",
            ),
            ("return mixed", "return mixed.mean(2)", "lay them side by side"),
            ("mixed.flatten(2)", "mixed[:, :, 0]", "the shape should be"),
        ],
        [
            (".flatten(2)", ".reshape(len(mixed), mixed.shape[1], -1)"),
            (
                "mixed = mixed.transpose(1, 2)\n        return mixed.flatten(2)",
                "return torch.cat(list(mixed.unbind(1)), 2)",
            ),
            ("transpose(1, 2)", "permute(0, 2, 1, 3)"),
            ("flatten(2)", "flatten(start_dim=-2)"),
        ],
    ),
    "my_qk_norm": (
        "q",
        """
        q = q - q.mean(dim=-1, keepdim=True)
        spread = q.square().mean(dim=-1, keepdim=True).sqrt()
        return q / spread""",
        [
            ("q - q.mean(dim=-1, keepdim=True)", "q", "subtract the mean first"),
            ("return q / spread", "return q", "divide by the spread"),
            (
                "q.square().mean(dim=-1, keepdim=True).sqrt()",
                "q.std(dim=-1, keepdim=True)",
                "by d, not by d - 1",
            ),
            (
                "q.square().mean(dim=-1, keepdim=True).sqrt()",
                "q.norm(dim=-1, keepdim=True)",
                "sqrt(q.shape[3]) times too small",
            ),
            (".sqrt()", "", "divide by the spread"),
            (
                "square().mean(dim=-1, keepdim=True).sqrt()",
                "abs().mean(dim=-1, keepdim=True)",
                "one of your values is?",
            ),
            ("dim=-1", "dim=-2", "normalise along the last axis"),
            (
                "q = q - q.mean(dim=-1, keepdim=True)\n        "
                "spread = q.square().mean(dim=-1, keepdim=True).sqrt()",
                "q, spread = q - q.mean(dim=2, keepdim=True), q.std(dim=2, keepdim=True)",
                "normalise along the last axis",
            ),
            (
                "q = q - q.mean(dim=-1, keepdim=True)\n        "
                "spread = q.square().mean(dim=-1, keepdim=True).sqrt()",
                "q, spread = q - q.mean(dim=1, keepdim=True), q.std(dim=1, keepdim=True)",
                "normalise along the last axis",
            ),
            ("mean(dim=-1, keepdim=True).sqrt()", "mean(dim=-1).sqrt()", "RuntimeError"),
            ("q / spread", "q * spread", "one of your values is?"),
            ("return q", "return -q", "the sign is wrong"),
            ("return q / spread", "q / spread", "is a `return` missing?"),
            ("square().mean(", "square().sum(", "sqrt(q.shape[3]) times too small"),
        ],
        [
            ("q / spread", "F.layer_norm(q, q.shape[-1:])"),
            (
                "q.square().mean(dim=-1, keepdim=True).sqrt()",
                "q.std(dim=-1, keepdim=True, unbiased=False)",
            ),
            ("spread", "length"),
            ("q / spread", "q / q.norm(dim=-1, keepdim=True) * math.sqrt(q.shape[-1])"),
        ],
    ),
    "my_order_test": (
        "layer, x, shuffle",
        """
        shuffled_before = layer(x[:, shuffle])
        shuffled_after = layer(x)[:, shuffle]
        return (shuffled_before - shuffled_after).abs().max()""",
        [
            ("layer(x)[:, shuffle]", "layer(x)", "compare with the output for x, shuffled"),
            ("layer(x)[:, shuffle]", "x[:, shuffle]", "compare with the output for x, shuffled"),
            ("layer(x)[:, shuffle]", "x", "compare with the output for x, shuffled"),
            ("layer(x)[:, shuffle]", "layer(x[:, shuffle])", "this is 0 for every layer"),
            (".abs().max()", ".max()", "take the absolute differences"),
            (".abs().max()", ".sum()", "take the absolute differences"),
            (".abs().max()", ".max().abs()", "take the absolute differences"),
            (".abs().max()", ".abs().mean()", "take the largest difference"),
            (".abs().max()", ".square().max()", "take the largest difference"),
            (".abs().max()", ".norm()", "take the largest difference"),
            (".abs().max()", ".abs().max() < 1e-5", "not whether there is one"),
            (
                "(shuffled_before - shuffled_after).abs().max()",
                "torch.allclose(shuffled_before, shuffled_after, atol=1e-5)",
                "not whether there is one",
            ),
            (".abs().max()", ".abs()", "a number is wanted"),
            ("layer(x)[:, shuffle]", "layer(x)[:, shuffle.argsort()]", "the same `shuffle`"),
            ("x[:, shuffle]", "x[shuffle]", "IndexError"),
            (".max()", ".max(dim=1)", "a number is wanted"),
        ],
        [
            (".abs().max()", ".abs().max().item()"),
            ("(shuffled_before - shuffled_after)", "(shuffled_after - shuffled_before)"),
            ("layer(x)[:, shuffle]", "layer(x).index_select(1, shuffle)"),
            (".abs().max()", ".flatten().norm(p=math.inf)"),
        ],
    ),
    "my_maps": (
        "N",
        """
        mirror, from_left = torch.zeros(N, N), torch.zeros(N, N)
        for i in range(N):
            mirror[i, N - 1 - i] = 1
            from_left[i, i - 1] = 1
        return mirror, from_left""",
        [
            ("N - 1 - i", "i", "mirror: this map leaves every colour"),
            ("[i, i - 1]", "[i, i]", "from_left: this map leaves every colour"),
            ("[i, i - 1]", "[i, (i + 1) % N]", "from_left: this takes from the right"),
            ("from_left[i, i - 1]", "from_left[i - 1, i]", "from_left: this takes from the right"),
            ("N - 1 - i", "N - i - 2", "mirror: row i is bright at N - 1 - i"),
            ("N - 1 - i", "-i", "mirror: row i is bright at N - 1 - i"),
            ("N - 1 - i", "N - i", "IndexError"),
            (
                "return mirror, from_left",
                "return from_left, mirror",
                "mirror: this is from_left; from_left: this is mirror",
            ),
            ("from_left[i, i - 1] = 1", "from_left[i, max(i - 1, 0)] = 1", "from_left: row 0"),
            ("from_left[i, i - 1] = 1", "from_left[i, i - 1] = float(i > 0)", "from_left: row 0"),
            ("return mirror, from_left", "return mirror", "2 results are wanted"),
            ("return mirror, from_left", "return mirror, None", "from_left: it is open"),
            ("] = 1", "] = 1 / N", "N times too small"),
            ("torch.zeros(N, N), torch", "torch.zeros(N, N, dtype=torch.long), torch", "of type"),
            ("N, N), torch.zeros(N, N)", "6, 6), torch.zeros(6, 6)", "the shape should be (5, 5)"),
        ],
        [
            ("return mirror, from_left", "return torch.eye(N).flip(0), torch.eye(N).roll(1, 0)"),
            ("return mirror, from_left", "return torch.stack([mirror, from_left])"),
            ("i - 1]", "(i - 1) % N]"),
            ("N - 1 - i", "-i - 1"),
        ],
    ),
    "my_branch": (
        "x, part, scale, shift, gate",
        """
        scale, shift, gate = scale[:, None], shift[:, None], gate[:, None]
        normed = F.layer_norm(x, x.shape[-1:])
        modulated = normed * (1 + scale) + shift
        return x + gate * part(modulated)""",
        [
            ("(1 + scale)", "scale", "multiply by 1 + scale"),
            ("return x + ", "return ", "add to x as it came"),
            ("gate * part", "part", "the gate itself multiplies"),
            (
                "x + gate * part(modulated)",
                "gate * (x + part(modulated))",
                "the gate itself multiplies",
            ),
            (
                "x + gate * part(modulated)",
                "gate * x + part(modulated)",
                "the gate itself multiplies",
            ),
            ("gate * part", "(1 + gate) * part", "the gate itself multiplies"),
            ("F.layer_norm(x, x.shape[-1:])", "x", "the norm is missing"),
            ("(1 + scale) + shift", "(1 + shift) + scale", "scale and shift are exchanged"),
            ("return x +", "return normed +", "add to x as it came"),
            ("return x +", "return modulated +", "add to x as it came"),
            (
                "normed * (1 + scale) + shift\n        return x + gate * part(modulated)",
                "part(normed) * (1 + scale) + shift\n        return x + gate * modulated",
                "modulate before the part",
            ),
            (
                "scale, shift, gate = scale[:, None], shift[:, None], gate[:, None]\n        ",
                "",
                "need an axis for the tokens",
            ),
            ("part(modulated)", "modulated", "one of your values is?"),
            ("gate[:, None]", "gate[:, :, None]", "RuntimeError"),
            ("gate[:, None]", "gate", "one of your values is?"),
        ],
        [
            ("scale[:, None]", "scale.unsqueeze(1)"),
            ("normed * (1 + scale) + shift", "normed + normed * scale + shift"),
            (
                "F.layer_norm(x, x.shape[-1:])",
                "nn.LayerNorm(x.shape[-1], elementwise_affine=False)(x)",
            ),
            ("x + gate * part(modulated)", "torch.addcmul(x, gate, part(modulated))"),
        ],
    ),
    "my_block": (
        "block, x, condition",
        """
        scale1, shift1, gate1, scale2, shift2, gate2 = block.modulations(condition)
        h = block.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * block.attention(h)
        h = block.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * block.mlp(h)""",
        [
            (
                "block.norm2(x) * (1 + scale2) + shift2\n        return x + gate2",
                "block.norm2(x) * (1 + scale1) + shift1\n        return x + gate1",
                "each part has its own three",
            ),
            (
                "scale1, shift1, gate1, scale2, shift2, gate2 =",
                "scale2, shift2, gate2, scale1, shift1, gate1 =",
                "each part has its own three",
            ),
            (
                "scale1, shift1, gate1, scale2, shift2, gate2 =",
                "shift1, scale1, gate1, shift2, scale2, gate2 =",
                "the order is scale, shift, gate",
            ),
            (
                "scale1, shift1, gate1, scale2, shift2, gate2 =",
                "gate1, scale1, shift1, gate2, scale2, shift2 =",
                "the order is scale, shift, gate",
            ),
            (
                "scale1, shift1, gate1, scale2, shift2, gate2 =",
                "scale1, scale2, shift1, shift2, gate1, gate2 =",
                "the order is scale, shift, gate",
            ),
            (
                "        x = x + gate1 * block.attention(h)\n",
                "",
                "the tokens that the attention has changed",
            ),
            (
                "x = x + gate1 * block.attention(h)\n        h = block.norm2(x)",
                "a = gate1 * block.attention(h)\n        "
                "h = block.norm2(x)\n        "
                "x = x + a\n        "
                "h = h",
                "the tokens that the attention has changed",
            ),
            ("return x + gate2 * block.mlp(h)", "return x", "the MLP reads and changes the tokens"),
            ("        h = block.norm2(x) * (1 + scale2) + shift2\n", "", "?"),
            ("gate1 * block", "block", "a gate is missing"),
            ("gate2 * block", "block", "a gate is missing"),
            ("(1 + scale1)", "scale1", "one of your values is?"),
            ("(1 + scale2)", "scale2", "multiply by 1 + scale"),
            ("return x + gate2", "return gate2", "a residual connection is missing"),
            ("block.norm1(x)", "x", "one of your values is?"),
            ("block.attention(h)\n", "block.mlp(h)\n", "one of your values is?"),
        ],
        [
            (
                "scale1, shift1, gate1, scale2, shift2, gate2 = block.modulations(condition)",
                "six = block.modulations(condition)\n        scale1, shift1, gate1 = six[:3]\n"
                "        scale2, shift2, gate2 = six[3:]",
            ),
            (
                "block.norm1(x) * (1 + scale1) + shift1",
                "torch.addcmul(shift1, block.norm1(x), 1 + scale1)",
            ),
            (
                "x = x + gate1 * block.attention(h)\n        h = block.norm2(x)",
                "after = x + gate1 * block.attention(h)\n        "
                "x = after\n        "
                "h = block.norm2(after)",
            ),
            ("block.norm2", "block.norm1"),
        ],
    ),
    "my_multiplications": (
        "N, D",
        """
        projections = N * D * (3 * D) + N * D * D
        products = N * D * N + N * N * D
        return projections, products""",
        [
            ("(3 * D)", "D", "projections: there are three maps in to_qkv"),
            (" + N * D * D", "", "and to_out"),
            (
                "return projections, products",
                "return 2 * projections, 2 * products",
                "do not count the additions",
            ),
            (
                "return projections, products",
                "return 4 * N**2 * D, products",
                "projections: a token meets D x D",
            ),
            (" + N * N * D", "", "products: there are two products"),
            ("N * D * N + N * N * D", "2 * N * N", "products: each entry of a product is a sum"),
            ("N * D * N + N * N * D", "N * N", "products: each entry of a product is a sum"),
            (
                "return projections, products",
                "return products, projections",
                "projections: this is products",
            ),
            (
                "return projections, products",
                "return projections + products",
                "2 results are wanted",
            ),
            ("return projections, products", "return projections, None", "products: it is open"),
            ("N * D * (3 * D) + N * D * D", "4 * D * D", "N times too small"),
            ("N * D * N + N * N * D", "2 * N * N * D / 4", "0.25 times the right one?"),
            ("N * D * N + N * N * D", "2 * N * D * D", "products: "),
            (
                "return projections, products",
                "return {1: projections, 2: products}",
                "2 results are wanted",
            ),
        ],
        [
            ("N * D * (3 * D) + N * D * D", "4 * N * D**2"),
            ("N * D * N + N * N * D", "2 * N**2 * D"),
            ("return projections, products", "return [float(projections), float(products)]"),
            ("return projections, products", "return torch.tensor([projections, products])"),
        ],
    ),
    "my_reach": (
        "maps, side",
        """
        tokens = torch.arange(side**2)
        row, column = tokens // side, tokens % side
        down = row[:, None] - row
        across = column[:, None] - column
        distance = (down**2 + across**2).sqrt()
        return (maps * distance).sum(dim=-1).mean(dim=-1)""",
        [
            (
                "(down**2 + across**2).sqrt()",
                "(tokens[:, None] - tokens).abs()",
                "use its row and its column",
            ),
            (".sqrt()", "", "a root of a sum of squares"),
            ("(down**2 + across**2).sqrt()", "down.abs() + across.abs()", "the straight line"),
            ("down**2 + across**2", "down**2", "the straight line"),
            ("down**2 + across**2", "across**2", "the straight line"),
            (".mean(dim=-1)", ".sum(dim=-1)", "average over the tokens"),
            (".sum(dim=-1).mean(dim=-1)", ".sum(dim=-1)", "average over the tokens"),
            (".sum(dim=-1).mean", ".mean(dim=-1).mean", "maps.shape[1] times too small"),
            (
                "(maps * distance).sum(dim=-1).mean(dim=-1)",
                "distance.mean().expand(len(maps))",
                "the weights are not used",
            ),
            ("(maps * distance).sum(dim=-1)", "(maps * distance).amax(dim=-1)", "use all weights"),
            (
                "(maps * distance).sum(dim=-1)",
                "distance[tokens, maps.argmax(-1)]",
                "use all weights",
            ),
            (".mean(dim=-1)", ".mean()", "averaged along axis 0"),
            ("tokens // side, tokens % side", "tokens // 8, tokens % 8", "one of your values is?"),
            ("down**2 + across**2", "(down + across)**2", "one of your values is?"),
            ("(maps * distance).sum(dim=-1)", "(maps @ distance).sum(dim=-1)", "?"),
        ],
        [
            ("tokens // side, tokens % side", "tokens % side, tokens // side"),
            ("(down**2 + across**2).sqrt()", "torch.hypot(down.float(), across.float())"),
            (".sum(dim=-1).mean(dim=-1)", ".sum((1, 2)) / side**2"),
            ("(maps * distance).sum(dim=-1)", "(maps * distance).sum(dim=-2)"),
        ],
    ),
    "my_predictions": (
        "",
        "return [1 / 4, 3 / 4, 16, 4]",
        [
            ("[1 / 4", "[1", "(a): the four weights are equal"),
            ("[1 / 4", "[0", "(a): the four weights are equal"),
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
            ("3 / 4", "math.exp(math.log(3)) / (1 + 3)"),
            ("[1 / 4, 3 / 4, 16, 4]", "0.25, 0.75, 16, 4"),
        ],
    ),
    "my_cross_attention": (
        "x, context, to_q, to_kv, num_heads",
        """
        def split(part):
            return part.unflatten(-1, (num_heads, -1)).transpose(1, 2)

        k, v = to_kv(context).chunk(2, dim=-1)
        q, k, v = split(to_q(x)), split(k), split(v)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        mixed = scores.softmax(dim=-1) @ v
        return mixed.transpose(1, 2).flatten(2)""",
        [
            ("k, v = to_kv", "v, k = to_kv", "the keys first, then the values"),
            ("dim=-1) @ v", "dim=-2) @ v", "the softmax runs over the keys"),
            (" / math.sqrt(q.shape[-1])", "", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1])", "divide the scores by sqrt(d)"),
            ("math.sqrt(q.shape[-1])", "q.shape[-1]", "divide the scores by sqrt(d)"),
            (
                "split(to_q(x)), split(k), split(v)",
                "(p[:, None] for p in (to_q(x), k, v))",
                "split into heads first",
            ),
            (
                "mixed.transpose(1, 2).flatten(2)",
                "mixed.reshape(x.shape)",
                "move the axis of the heads",
            ),
            ("to_kv(context)", "to_kv(x)", "come from the context"),
            ("mixed.transpose(1, 2).flatten(2)", "mixed", "the shape should be (2, 5, 6)"),
            ("scores.softmax(dim=-1) @", "scores @", "one of your values is?"),
            ("to_q(x)", "x", "one of your values is?"),
            ("split(k), split(v)", "split(v), split(k)", "the keys first, then the values"),
            ("(num_heads, -1)", "(-1, num_heads)", "?"),
            ("mixed.transpose(1, 2)", "mixed.transpose(1, 3)", "the shape?"),
            ("to_q(x)", "to_q(context)", "the shape should be"),
        ],
        [
            ("scores.softmax(dim=-1) @ v", "F.scaled_dot_product_attention(q, k, v)"),
            (
                "part.unflatten(-1, (num_heads, -1)).transpose(1, 2)",
                "torch.stack(part.chunk(num_heads, -1), 1)",
            ),
            ("mixed.transpose(1, 2).flatten(2)", "torch.cat(list(mixed.unbind(1)), -1)"),
            ("chunk(2, dim=-1)", "split(x.shape[-1], dim=-1)"),
        ],
    ),
    "my_local_attention": (
        "q, k, v, radius",
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
            (
                "logits.masked_fill(far, -torch.inf).softmax(dim=-1) @ v",
                "F.scaled_dot_product_attention(q, k, v, attn_mask=~far)",
            ),
        ],
    ),
    "my_update": (
        "q, top, total, output, k, v",
        """
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        new_top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        factor = torch.exp(top - new_top)
        exps = torch.exp(scores - new_top)
        total = factor * total + exps.sum(dim=-1, keepdim=True)
        output = factor * output + exps @ v
        return new_top, total, output""",
        [
            (
                "torch.maximum(top, scores.amax(dim=-1, keepdim=True))",
                "scores.amax(dim=-1, keepdim=True)",
                "top: the top so far counts too",
            ),
            (" / math.sqrt(q.shape[-1])", "", "top: divide the scores by sqrt(d)"),
            (
                "factor = torch.exp(top - new_top)",
                "factor = 1",
                "keep the old sums, times exp(top - new)",
            ),
            (
                "torch.exp(top - new_top)",
                "torch.exp(new_top - top)",
                "keep the old sums, times exp(top - new)",
            ),
            (
                "torch.exp(top - new_top)",
                "top - new_top",
                "keep the old sums, times exp(top - new)",
            ),
            ("factor * total", "total", "total: keep the old sums, times exp(top - new)"),
            ("factor * output", "output", "output: keep the old sums, times exp(top - new)"),
            ("factor * total + ", "", "total: keep the old sums, times exp(top - new)"),
            ("factor * output + ", "", "output: keep the old sums, times exp(top - new)"),
            ("scores - new_top", "scores", "subtract the new top"),
            ("scores - new_top", "scores - top", "subtract the new top"),
            (
                "return new_top, total, output",
                "return new_top, total, output / total",
                "output: do not divide by the total yet",
            ),
            ("return new_top", "return top", "top: this is `top` as it came"),
            ("return new_top, total, output", "return output", "3 results are wanted"),
            ("sum(dim=-1, keepdim=True)", "sum(dim=-1)", "total: the shape should be"),
            (
                "exps.sum(dim=-1, keepdim=True)",
                "exps.mean(dim=-1, keepdim=True)",
                "total: one of your values?",
            ),
        ],
        [
            (
                "torch.maximum(top, scores.amax(dim=-1, keepdim=True))",
                "torch.cat([top, scores], dim=-1).amax(dim=-1, keepdim=True)",
            ),
            ("return new_top, total, output", "return [new_top, total, output]"),
            ("factor * output + exps @ v", "torch.addmm(factor * output, exps, v)"),
            ("scores.amax(dim=-1, keepdim=True)", "scores.max(dim=-1, keepdim=True).values"),
        ],
    ),
    "my_left_head": (
        "maps, side",
        """
        cells = torch.arange(side**2).view(side, side)
        own, left = cells[:, 1:], cells[:, :-1]
        weight = maps[:, :, own, left].mean(dim=(-2, -1))
        block, head = divmod(weight.argmax().item(), weight.shape[1])
        return block, head""",
        [
            ("own, left]", "left, own]", "this head looks elsewhere"),
            ("cells[:, 1:], cells[:, :-1]", "cells[1:], cells[:-1]", "this head looks elsewhere"),
            ("cells[:, 1:], cells[:, :-1]", "cells[:-1], cells[1:]", "this head looks elsewhere"),
            ("cells[:, 1:], cells[:, :-1]", "cells, cells", "this head looks elsewhere"),
            (
                "cells[:, 1:], cells[:, :-1]",
                "cells.view(-1, 1)[1:], cells.view(-1, 1)[:-1]",
                "no left neighbour",
            ),
            ("mean(dim=(-2, -1))", "amax(dim=(-2, -1))", "?"),
            ("argmax", "argmin", "take the largest weight"),
            ("return block, head", "return head, block", "block and head are exchanged"),
            ("return block, head", "return block + 1, head + 1", "count from 0"),
            ("return block, head", "return weight.argmax().item()", "2 results are wanted"),
            ("return block, head", "return weight", "2 results?"),
            ("return block, head", "return block, None", "head: it is open"),
            ("return block, head", "return weight.max(), head", "block: "),
            ("weight.shape[1]", "weight.shape[0]", "?"),
            ("return block, head", "print(block, head)", "it prints its result"),
        ],
        [
            (
                "block, head = divmod(weight.argmax().item(), weight.shape[1])",
                "block, head = (weight == weight.max()).nonzero()[0]",
            ),
            ("return block, head", "return torch.tensor([block, head])"),
            (
                "maps[:, :, own, left].mean(dim=(-2, -1))",
                "maps[:, :, own.flatten(), left.flatten()].sum(-1)",
            ),
            (
                "maps[:, :, own, left].mean(dim=(-2, -1))",
                "sum(maps[..., i, i - 1] for i in range(side**2) if i % side)",
            ),
        ],
    ),
}
