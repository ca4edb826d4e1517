"""The checks of lesson 07, against general formulas and measurements."""

import numpy as np
import torch
from torch import Tensor

from ..evaluation import precision_and_recall
from . import Table, exercise


@exercise(lambda: [torch.rand(4, n) for n in (6, 3, 11)])
def frechet_diagonal(mean_a: Tensor, std_a: Tensor, mean_b: Tensor, std_b: Tensor) -> Table:
    """the distance of uncorrelated Gaussians agrees with the general formula"""
    (a, b), gap = (std.double().square().diag() for std in (std_a, std_b)), (std_a - std_b).abs()
    means = (mean_a - mean_b).square().sum()
    right = means + (a + b).trace() - 2 * torch.linalg.eigvals(a @ b).real.sqrt().sum()
    return float(right), {
        "compare standard deviations, not variances": means + (std_a**2 - std_b**2).square().sum(),
        "the spreads differ by std_a - std_b": means + (std_a**2 + std_b**2).sum(),
        "both the means and the spreads count": [means, gap.square().sum()],
        "square the gaps": ((mean_a - mean_b).abs() + gap).sum(),
        "this is the root; the squared distance is wanted": [right**0.5, means**0.5 + gap.norm()],
    }


@exercise(lambda: [()], tolerance=0.11)  # 0.1 either way, and the scatter of the measurement
def predicted_scores() -> Table:
    """your prediction of precision and recall agrees with the measurement"""
    turn = torch.polar(torch.ones(5), 2 * torch.pi * torch.arange(5) / 5)
    blobs, noise = torch.view_as_real(turn), 0.15 * torch.randn(500, 2)
    heaps = torch.stack([blobs[0], torch.tensor([8.0, 0.0])]).repeat(250, 1)
    precision, recall = precision_and_recall(heaps + noise, blobs.repeat(100, 1) + noise.flip(0))
    return {"precision": precision, "recall": recall}, {
        "half of what is made is faithful": [{"precision": p} for p in (1.0, 0.1, 0.2)],
        "one blob of five is reached": [{"recall": r} for r in (0.5, 0.8, 1.0)],
    }


def _copies(*shape: int) -> tuple[Tensor, Tensor]:
    """Two images of a pool, two mirrored ones, two others, and the pool."""
    pool, others = torch.randint(0, 256, shape).byte(), torch.rand(2, *shape[1:])
    return torch.cat([pool[7:9] / 255, pool[-2:].flip(3) / 255, others]), pool


@exercise(lambda: [_copies(n, 3, n // 5, 5) for n in (40, 23, 61)], tolerance=5e-3)
def nearest_or_mirrored(images: Tensor, pool: Tensor) -> Table:
    """plain and mirrored copies are found, and strangers keep their distance"""
    views = torch.stack([images, images.flip(3), images.flip(2)])[:, :, None] - pool / 255
    every = views.square().mean((3, 4, 5)).sqrt()  # (views, N, M)
    (plain, mirrored, flipped), both = every.amin(2), every[:2].amin(0)
    return {"distances": both.amin(1), "indices": both.argmin(1)}, {
        "compare the image and its mirror image": [{"distances": plain}, {"distances": mirrored}],
        "flip along the width, axis 3": {"distances": torch.minimum(plain, flipped)},
        "take the smaller of the two distances": {"distances": torch.maximum(plain, mirrored)},
        "an index belongs to the smaller distance": [{"indices": e.argmin(1)} for e in every],
    }


@exercise(lambda: [(90 * 2.0 ** torch.arange(n), torch.rand(n) + 7) for n in (5, 3, 8)])
def distance_at_infinity(sizes: Tensor, distances: Tensor) -> Table:
    """the line through the distances against 1/N, at 1/N = 0"""
    lines = [np.polyfit(sizes.double() ** p, distances.double(), 1) for p in (-1, 1, -0.5)]
    return lines[0][1], {
        "this is the slope of the line; its height at 0 is wanted": lines[0][0],
        "draw the line against 1 / N, not N or 1 / sqrt(N)": [lines[1][1], lines[2][1]],
        "the line goes on from the largest N to 1 / N = 0": [distances[-1], distances.mean()],
    }
