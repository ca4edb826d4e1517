"""Answers to the exercises of lesson 07, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "frechet_diagonal": (
        "mean_a, std_a, mean_b, std_b",
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
    "predicted_scores": (
        "",
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
    "nearest_or_mirrored": (
        "images, pool",
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
                "distances: this is indices",
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
    "distance_at_infinity": (
        "sizes, distances",
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
