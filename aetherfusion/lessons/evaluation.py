"""The checks of lesson 07, against general formulas and measurements."""

import math

import torch
from torch import Tensor

from ..evaluation import precision_and_recall
from . import Table, draws, exercise


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T


@exercise(lambda: [tuple(x.abs() for x in draws(4, n)) for n in (6, 3, 11)])
def frechet_diagonal(mean_a: Tensor, std_a: Tensor, mean_b: Tensor, std_b: Tensor) -> Table:
    """the distance of uncorrelated Gaussians agrees with the general formula"""
    (a, b), gap = (std.double().square().diag() for std in (std_a, std_b)), (std_a - std_b).abs()
    means = (mean_a - mean_b).square().sum()
    right = means + (a + b - 2 * _root(_root(a) @ b @ _root(a))).trace()
    return float(right), {
        "compare standard deviations, not variances": means + (std_a**2 - std_b**2).square().sum(),
        "the spreads differ by std_a - std_b": means + (std_a**2 + std_b**2).sum(),
        "you left out the spreads": means,
        "you left out the means": gap.square().sum(),
        "square the gaps": ((mean_a - mean_b).abs() + gap).sum(),
        "this is the root; the squared distance is wanted": [right**0.5, means**0.5 + gap.norm()],
    }


@exercise(lambda: [()], tolerance=0.1)
def predicted_scores() -> Table:
    """your prediction of precision and recall agrees with the measurement"""
    turn = torch.polar(torch.ones(5), 2 * math.pi * torch.arange(5) / 5)
    blobs, noise = torch.view_as_real(turn), 0.15 * draws(1, 500, 2)[0]
    heaps = torch.stack([blobs[0], torch.tensor([8.0, 0.0])]).repeat(250, 1)
    precision, recall = precision_and_recall(heaps + noise, blobs.repeat(100, 1) + noise.flip(0))
    return {"precision": precision, "recall": recall}, {
        "half of what is made is faithful": [{"precision": p} for p in (1.0, 0.1, 0.2)],
        "one blob of five is reached": [{"recall": r} for r in (0.5, 0.1, 0.8, 1.0, 0.25)],
    }


def _copies(num: int, size: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num)
    pool = torch.randint(0, 256, (num, 3, size, width), generator=generator).byte()
    images = pool[torch.randperm(num, generator=generator)[:6]] / 255
    images[2:4] = images[2:4].flip(3)  # mirrored copies
    images[4:] = torch.rand(2, 3, size, width, generator=generator)  # strangers
    return images, pool


@exercise(lambda: [_copies(40, 6, 5), _copies(23, 4, 7), _copies(61, 3, 4)], tolerance=2e-3)
def nearest_or_mirrored(images: Tensor, pool: Tensor) -> Table:
    """plain and mirrored copies are found, and strangers keep their distance"""
    views = torch.stack([images, images.flip(3), images.flip(2)])[:, :, None] - pool / 255
    every = views.square().mean((3, 4, 5)).sqrt()  # (views, N, M)
    (plain, mirrored, flipped), both = every.amin(2), every[:2].amin(0)
    right = {"distances": both.amin(1), "indices": both.argmin(1)}
    size = images[0].numel()
    return right, {
        "mirrored copies get through; look at the mirror image too": {"distances": plain},
        "plain copies get through; look at the picture itself too": {"distances": mirrored},
        "flip along the width, axis 3": {"distances": torch.minimum(plain, flipped)},
        "take the smaller of the two distances": {"distances": torch.maximum(plain, mirrored)},
        "take the mean of the squares, not their sum": {"distances": both.amin(1) * size**0.5},
        "an index belongs to the smaller distance": [{"indices": e.argmin(1)} for e in every],
    }


def _scores(num: int) -> tuple[Tensor, Tensor]:
    sizes = 100 * 2.0 ** torch.arange(num) + 17
    return sizes, 7.5 + 900 / sizes + 0.1 * draws(1, num)[0]


@exercise(lambda: [_scores(5), _scores(3), _scores(8)], tolerance=1e-4)
def distance_at_infinity(sizes: Tensor, distances: Tensor) -> Table:
    """the line through the distances against 1/N, at 1/N = 0"""
    powers = [torch.stack([sizes**0, sizes**p], 1).double() for p in (-1, 1, -0.5)]
    lines = [torch.linalg.lstsq(p, distances.double()[:, None]).solution[:, 0] for p in powers]
    return float(lines[0][0]), {
        "this is the slope of the line; its height at 0 is wanted": float(lines[0][1]),
        "you drew the line against N; draw it against 1 / N": float(lines[1][0]),
        "you drew the line against 1 / sqrt(N); draw it against 1 / N": float(lines[2][0]),
        "this is the distance at the largest N; go on to 1 / N = 0": float(distances[-1]),
        "this is the mean; it is the height in the middle": float(distances.mean()),
    }
