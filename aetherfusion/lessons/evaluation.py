"""The checks of lesson 07: distances, precision and recall, copies.

Owns: `frechet_diagonal`, `predicted_scores`, `nearest_or_mirrored` and `distance_at_infinity`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..evaluation import precision_and_recall
from . import run_check


def frechet_diagonal(function: Callable[..., Any]) -> None:
    """The squared Fréchet distance of two Gaussians whose numbers are uncorrelated.

    `function(mean_a, std_a, mean_b, std_b)`, each (D,), gives one number.
    """
    generator = torch.Generator().manual_seed(11)
    mean_a, mean_b = torch.randn(2, 6, generator=generator)
    std_a, std_b = 0.3 + 2 * torch.rand(2, 6, generator=generator)
    # Independent of the sum over directions: the general formula, by symmetric matrix roots.
    cov_a, cov_b = std_a.square().diag().double(), std_b.square().diag().double()
    half = _root(cov_a)
    trace = cov_a.trace() + cov_b.trace() - 2 * _root(half @ cov_b @ half).trace()
    right = float(trace + (mean_a - mean_b).double().square().sum())
    means, stds = (mean_a - mean_b).square(), (std_a - std_b).square()
    variances = (std_a.square() - std_b.square()).square()
    mistakes = [
        (means + variances, "you compared variances; compare standard deviations"),
        (means + std_a.square() + std_b.square(), "this is the price of random pairs: in sorted "
         "pairs the spreads differ by std_a - std_b"),
        (means, "you left out the spreads"),
        (stds, "you left out the means"),
        ((mean_a - mean_b).abs() + (std_a - std_b).abs(), "the gaps must be squared"),
    ]  # fmt: skip

    def judge(answer: Any) -> str | None:
        given = torch.as_tensor(answer, dtype=torch.float64)
        if given.numel() != 1:
            return f"one number is wanted, yours has shape {tuple(given.shape)}; sum over D"
        value = float(given)
        if math.isclose(value, right, rel_tol=1e-3):
            return None
        if math.isclose(value, right / 6, rel_tol=1e-3):
            return "you took the mean over the directions; squared prices add up"
        if math.isclose(value, math.sqrt(right), rel_tol=1e-3):
            return "this is the root; the squared distance is wanted"
        for wrong, words in mistakes:
            if math.isclose(value, float(wrong.sum()), rel_tol=1e-3):
                return words
        return f"for one pair of Gaussians you gave {value:.3f}, and it is {right:.3f}"

    run_check(
        "the distance of uncorrelated Gaussians agrees with the general formula",
        lambda: function(mean_a, std_a, mean_b, std_b),
        judge,
    )


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T


def predicted_scores(function: Callable[..., Any]) -> None:
    """Precision and recall of a maker: half of it one blob of five, half of it far away.

    `function()` gives (precision, recall).
    """
    generator = torch.Generator().manual_seed(12)

    def points(kinds: Tensor) -> Tensor:
        angle = 2 * math.pi * kinds / 5
        centre = torch.stack([angle.cos(), angle.sin()], dim=1)
        return centre + 0.15 * torch.randn(len(kinds), 2, generator=generator)

    real = points(torch.arange(500) % 5)
    far = torch.tensor([8.0, 0.0]) + 0.15 * torch.randn(250, 2, generator=generator)
    made = torch.cat([points(torch.zeros(250)), far])
    right = precision_and_recall(made, real)

    def judge(answer: Any) -> str | None:
        given = [float(value) for value in answer]
        if len(given) != 2:
            return f"two numbers are wanted, (precision, recall), you gave {len(given)}"
        if not all(0 <= value <= 1 for value in given):
            return "both are shares, in [0, 1]"

        def near(value: float, wanted: float) -> bool:
            return abs(value - wanted) <= 0.1

        precision_fits, recall_fits = near(given[0], right[0]), near(given[1], right[1])
        if precision_fits and recall_fits:
            return None
        if near(given[0], right[1]) and near(given[1], right[0]):
            return "you swapped them: precision is over what is made, recall over what is real"
        if precision_fits:
            return "precision fits, recall does not: how many of the five blobs are reached?"
        if recall_fits:
            return "recall fits, precision does not: which share of what is made is good?"
        return "neither fits; count made points among real balls, then real ones among made balls"

    run_check(
        "your prediction of precision and recall agrees with the measurement",
        function,
        judge,
    )


def nearest_or_mirrored(function: Callable[..., Any]) -> None:
    """The nearest picture of a pool to each picture or to its mirror image.

    `function(images, pool)`, (N, C, H, W) in [0, 1] and (M, C, H, W) bytes, gives distances (N,)
    and indices (N,).
    """
    generator = torch.Generator().manual_seed(13)
    pool = torch.randint(0, 256, (40, 3, 6, 6), generator=generator).byte()
    # Copies, mirrored copies, and strangers.
    index = torch.tensor([3, 17, 0, 39, 8, 25])
    images = pool[index].float() / 255
    images[2:4] = images[2:4].flip(3)
    images[4:] = torch.rand(2, 3, 6, 6, generator=generator)

    def search(*views: Tensor) -> tuple[Tensor, Tensor]:
        every = torch.stack(
            [(view[:, None] - pool[None] / 255).square().mean(dim=(2, 3, 4)) for view in views]
        )  # (views, N, M)
        return every.amin(dim=(0, 2)).sqrt(), every.amin(dim=0).argmin(dim=1)

    right, place = search(images, images.flip(3))
    mistakes = [
        (search(images)[0], "mirrored copies still get through: look at the mirror image too"),
        (search(images.flip(3))[0], "you looked at mirror images only: plain copies get through"),
        (search(images, images.flip(2))[0], "you turned the pictures upside down; the mirror image "
         "is flip(3), along the width"),
        (torch.maximum(search(images)[0], search(images.flip(3))[0]), "you kept the larger of the "
         "two distances; the nearer one counts"),
    ]  # fmt: skip

    def judge(answer: Any) -> str | None:
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return "return two tensors: distances and indices"
        gaps, where = answer
        if where.is_floating_point() and not gaps.is_floating_point():
            return "you swapped the two: distances come first, then indices"
        if gaps.shape != (6,) or where.shape != (6,):
            return (
                f"for 6 pictures both must be of shape (6,), yours are {tuple(gaps.shape)} and "
                f"{tuple(where.shape)}"
            )
        # torch.cdist, by its matrix product, leaves about 1e-3 where there is 0.
        if torch.allclose(gaps, right, atol=2e-3):
            if torch.equal(where, place):
                return None
            if int(where.max()) >= len(pool):
                return (
                    f"an index of {int(where.max())} is outside the pool of {len(pool)}: with the "
                    "mirror images appended, take it modulo the length of the pool"
                )
            return "the distances are right, but an index must belong to the smaller of the two"
        if torch.allclose(gaps, right * (3 * 6 * 6) ** 0.5, atol=2e-2):
            return "divide by the root of the number of values: the root mean square is wanted"
        for wrong, words in mistakes:
            if torch.allclose(gaps, wrong, atol=2e-3):
                return words
        return f"distances are off by up to {float((gaps - right).abs().max()):.3f}"

    run_check(
        "plain and mirrored copies are found, and strangers keep their distance",
        lambda: function(images, pool),
        judge,
    )


def distance_at_infinity(function: Callable[..., Any]) -> None:
    """Where a straight line through distances against 1 / N meets 1 / N = 0.

    `function(sizes, distances)`, (K,) each, gives one number.
    """
    generator = torch.Generator().manual_seed(14)
    sizes = torch.tensor([100.0, 200.0, 400.0, 1000.0, 5000.0])
    noise = 0.1 * torch.randn(5, generator=generator)
    distances = 7.5 + 900 / sizes + noise

    def line(u: Tensor, d: Tensor) -> tuple[float, float]:
        """Height at 0 and slope, by torch's own least squares."""
        design = torch.stack([torch.ones_like(u), u], dim=1).double()
        height, slope = torch.linalg.lstsq(design, d.double()[:, None]).solution[:, 0].tolist()
        return height, slope

    right, slope = line(1 / sizes, distances)
    over_n = line(sizes, distances)[0]

    def judge(answer: Any) -> str | None:
        given = torch.as_tensor(answer, dtype=torch.float64)
        if given.numel() != 1:
            return f"one number is wanted, yours has shape {tuple(given.shape)}"
        value = float(given)
        if math.isclose(value, right, rel_tol=1e-3):
            return None
        if math.isclose(value, slope, rel_tol=1e-3):
            return "this is the slope of the line; its height at 1/N = 0 is wanted"
        if math.isclose(value, over_n, rel_tol=1e-3):
            return "you drew the line against N; draw it against 1/N"
        if math.isclose(value, float(distances[-1]), rel_tol=1e-3):
            return "this is the distance at the largest N; go on to 1/N = 0"
        if math.isclose(value, float(distances.mean()), rel_tol=1e-3):
            return "this is the mean of the distances: the height of the line in the middle"
        return f"for five distances you gave {value:.3f}, and it is {right:.3f}"

    run_check(
        "the line through the distances against 1/N, at 1/N = 0",
        lambda: function(sizes, distances),
        judge,
    )
