"""Answers to the exercises of lesson 04, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "velocity_from_noise": (
        "path, xt, noise_hat, t",
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
    "two_points_x0": (
        "xt, alpha, sigma",
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
    "my_path": (
        "",
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
    "euler": (
        "velocity, noise, num_steps",
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
}
