"""Answers to the exercises of lesson 06, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "midpoint_step": (
        "denoise, x, t, t_next",
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
    "images_seen": (
        "steps",
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
    "foreseen": (
        "x0_hat, x0_before, h, h_before",
        """
        slope = (x0_hat - x0_before) / h_before
        return x0_hat + slope * h / 2""",
        [
            ("h / 2", "h", "take the midpoint"),
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
    "steer_away": (
        "denoise, labels, unwanted, guidance_scale",
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
}
