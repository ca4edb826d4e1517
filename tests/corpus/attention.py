"""Answers to the exercises of lesson 02, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "my_attention": (
        "q, k, v",
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
    "my_predictions": (
        "",
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
        ],
    ),
    "my_merge": (
        "mixed",
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
}
