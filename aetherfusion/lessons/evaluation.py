"""The checks of lesson 07, against general formulas and measurements."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..evaluation import precision_and_recall
from . import Table, exercise

SIZES = (7, 4, 3), (5, 9, 2), (20, 30, 6)
DIRECT = "each point is its own nearest one; take index k of its sorted distances"


def _exchanged(right: dict[str, Any]) -> dict[str, Any]:
    wrong = dict(zip(reversed(right), right.values(), strict=True))
    return {f"you have exchanged {' and '.join(right)}": wrong}


def _power(cov: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values**exponent @ vectors.T


def _gaussians() -> list[Any]:
    """Means and covariances of two Gaussians, and two points."""
    sets = [torch.randn(2, d + 9, d) + torch.rand(d) for _, _, d in SIZES]
    return [(a.mean(0), a.T.cov(), 1 + b.mean(0), 2 * b.T.cov(), b[:2]) for a, b in sets]


def _gaps(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).norm(dim=-1)


def _sets() -> list[Any]:
    """Two sets of points, and k."""
    sizes = (40, 30, 2, 3), (25, 60, 3, 1), (50, 35, 2, 4)
    return [(0.8 * torch.randn(n, d) + 0.7, torch.randn(m, d), k) for n, m, d, k in sizes]


@exercise(lambda: [(torch.randn(n), 1 + 2 * torch.randn(n)) for n in (7, 5, 30)])
def transport_cost(a: Tensor, b: Tensor) -> Table:
    """the least mean squared gap over all pairings on a line"""
    x, y, cost = a.sort().values, b.sort().values, (a[:, None] - b).square()
    return (x - y).square().mean(), {
        "sort both sets": [(x - b).square().mean(), (a - y).square().mean(), cost.diag().mean()],
        "sort both in the same direction": (x - y.flip(0)).square().mean(),
        "square each gap, then take the mean": [(x - y).abs().mean(), (x - y).mean() ** 2],
        "pair each point once": [cost.mean(), cost.amin(0).mean(), cost.amin(1).mean()],
    }


@exercise(lambda: [(torch.randn(n, d) + 2,) for n, _, d in SIZES])
def mean_and_covariance(points: Tensor) -> Table:
    """the mean and the covariance of features"""
    n, mean, c = len(points), points.mean(0), points - points.mean(0)
    right, plain = {"mean": mean, "covariance": points.T.cov()}, points.T @ points
    return right, _exchanged(right) | {
        "divide by N - 1": [{"covariance": c.T @ c / m} for m in (1, n)],
        "subtract the mean before you multiply": [{"covariance": plain / m} for m in (1, n - 1, n)],
        "there are D x D covariances": [{"covariance": x} for x in (c @ c.T / (n - 1), c.var(0))],
        "average over the points": [{"mean": m} for m in (points.mean(1), mean.mean())],
    }


@exercise(
    lambda: [(torch.randn(n, d) + torch.arange(n)[:, None], n // 2 + 1) for n, _, d in SIZES],
    run=lambda student, points, size: student(points.split(size)),
    tolerance=1e-4,
)
def streamed_moments(points: Tensor, size: int) -> Table:
    """the mean and the covariance of all batches together"""
    right, wrongs = mean_and_covariance.__wrapped__(points)
    batches, n = points.split(size), len(points)
    own = [{"mean": b.mean(0), "covariance": b.T.cov()} for b in batches]
    even = {name: sum(one[name] for one in own) / len(own) for name in right}
    less = points.T @ points - right["mean"].outer(right["mean"])
    return right, wrongs | {
        "batches differ in size and in mean": even,
        "this is one batch": own,
        "subtract N products of the means": [{"covariance": less / m} for m in (n, n - 1)],
    }


@exercise(lambda: [case[:4] for case in _gaussians()], tolerance=1e-3)
def frechet_of_gaussians(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Table:
    """the squared distance of two Gaussians in D dimensions"""
    half, means, product = _power(cov_a, 0.5), (mean_a - mean_b).square().sum(), cov_a @ cov_b
    root = torch.linalg.eigvalsh(half @ cov_b @ half).sqrt().sum()
    both, diagonal = means + (cov_a + cov_b).trace(), (cov_a.diag() * cov_b.diag()).sqrt().sum()
    entries, lower = product.diag().sqrt().sum(), torch.linalg.eigvalsh(product).clamp(0).sqrt()
    return both - 2 * root, {
        "take the root of each eigenvalue": [both - 2 * product.trace() ** p for p in (1, 0.5)],
        "a matrix root is not that of the entries": [both - 2 * x for x in (diagonal, entries)],
        "eigvalsh is for symmetric matrices": both - 2 * lower.sum(),
        "subtract the root twice": [both - root, both, both + 2 * root],
        "both means and covariances count": [means, both - 2 * root - means],
        "square the gap of the means": both - 2 * root - means + means.sqrt(),
    }


@exercise(_gaussians, tolerance=1e-3)
def transport_map(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor, x: Tensor) -> Table:
    """the optimal transport from one Gaussian to another"""
    a, back, c = _power(cov_a, 0.5), _power(cov_a, -0.5), x - mean_a
    root, (low_a, low_b) = _power(a @ cov_b @ a, 0.5), map(torch.linalg.cholesky, (cov_a, cov_b))
    move, others = back @ root @ back, [back @ _power(cov_b, 0.5), low_a.inverse().T @ low_b.T]
    roots = [root, a @ root @ a, back @ root @ a, back @ root @ root @ back, _power(move, -1)]
    return mean_b + c @ move, {
        "the covariance is right, but another map costs less": [mean_b + c @ m for m in others],
        "subtract mean_a": mean_b + x @ move,
        "add mean_b": [c @ move, mean_a + c @ move],
        "this map leads from b to a": mean_a + (x - mean_b) @ _power(move, -1),
        "the matrix is wrong": [mean_b + c @ m for m in roots],
        "the spread counts too": mean_b + c,
    }


@exercise(lambda: [torch.randn(3, n, d) for n, _, d in SIZES])
def copy_ratio(made: Tensor, training: Tensor, unseen: Tensor) -> Table:
    """the gap to the training points, compared with that of unseen points"""
    gaps, usual, other = _gaps(made, training), _gaps(unseen, training), _gaps(made, unseen)
    near, far = gaps.amin(1), usual.amin(1)
    return near.median() / far.median(), {
        "take the median, not the mean": near.mean() / far.mean(),
        "divide by the gap of unseen points": [near.median(), near.mean()],
        "measure to training points": [other.amin(i).median() / far.median() for i in (0, 1)],
        "begin with each generated point": gaps.amin(0).median() / usual.amin(0).median(),
        "divide the two medians": [(near / far).median(), (near / far).mean()],
        "take the nearest, not all of them": gaps.median() / usual.median(),
        "take the nearest, not the farthest": gaps.amax(1).median() / usual.amax(1).median(),
    }


@exercise(lambda: [(torch.randn(n, d), torch.randn(m, d) + 1) for n, m, d in SIZES])
def squared_mmd(a: Tensor, b: Tensor) -> Table:
    """the unbiased squared kernel distance"""

    def by(d: float, plus: int = 1, power: int = 3, less: int = 1, n: int = 1, two: int = 2) -> Any:
        k = [(x @ y.T / d + plus) ** power for x, y in ((a, a), (b, b), (a, b))]
        within = [(x.sum() - less * x.trace()) / len(x) / (len(x) - n) for x in k[:2]]
        return sum(within) - two * k[2].mean()

    d = a.shape[1]
    return by(d), {
        "leave out the diagonal within a set": [by(d, less=0, n=0), by(d, less=0)],
        "N (N - 1) terms are left without the diagonal": by(d, n=0),
        "subtract the mean between the sets twice": [by(d, two=n) for n in (1, 0, -2)],
        "divide the product by D": [by(1), by(d**0.5), by(len(a))],
        "add 1, then take the third power": [by(d, plus=0), by(d, power=1), by(d, power=2)],
    }


@exercise(_sets)
def precision_recall(generated: Tensor, real: Tensor, k: int) -> Table:
    """precision and recall by nearest neighbours"""

    def by(k: int, share: Any = torch.any, axis: int = 1) -> dict[str, Tensor]:
        radii = {"precision": _gaps(real, real), "recall": _gaps(generated, generated)}
        gaps = {"precision": _gaps(generated, real), "recall": _gaps(real, generated)}
        inside = {name: gaps[name] <= r.sort().values[:, k] for name, r in radii.items()}
        return {name: share(x, axis).float().mean() for name, x in inside.items()}

    return by(k), _exchanged(by(k)) | {
        DIRECT: [by(k - 1), by(k + 1)],
        "count points that lie in a ball, not balls with a point": by(k, axis=0),
        "one ball is enough": [by(k, torch.all), by(k, lambda x, axis: x)],
        "this is a number of points; divide": by(k, lambda x, axis: x.any(axis).sum()),
    }


@exercise(_sets)
def density_and_coverage(generated: Tensor, real: Tensor, k: int) -> Table:
    """density and coverage, with balls around real points only"""

    def by(k: int, n: int, axis: int = 0) -> dict[str, Tensor]:
        inside = _gaps(generated, real) <= _gaps(real, real).sort().values[:, k]
        return {"density": inside.sum() / n, "coverage": inside.any(axis).float().mean()}

    n, right = len(generated), by(k, k * len(generated))
    return right, _exchanged(right) | {
        DIRECT: [by(k - 1, n * k), by(k + 1, n * k)],
        "divide by k and by the generated points": [by(k, m) for m in (1, n, k, k * len(real))],
        "this is precision": {"density": by(k, 1, 1)["coverage"]},
        "coverage is a share of the real points": by(k, 1, 1),
    }


@exercise(lambda: [(2 * torch.randn(9 * n, k), torch.randint(k, (9 * n,))) for n, k, _ in SIZES])
def confusion_and_accuracy(logits: Tensor, labels: Tensor) -> Table:
    """the confusion matrix, and the share on its diagonal"""
    kinds, named, n = torch.eye(logits.shape[1]), logits.argmax(1), len(labels)
    counts = (kinds[labels].T @ kinds[named]).long()
    right = {"confusion": counts, "accuracy": (hits := counts.diag().sum()) / n}
    return right, _exchanged(right) | {
        "rows are the classes asked for, columns those predicted": {"confusion": counts.T},
        "divide the hits by all": [{"accuracy": hits / m} for m in (1, n / 100, len(kinds))],
        "counts are wanted": [{"confusion": counts / m} for m in (n, counts.sum(1, keepdim=True))],
        "this is the mean over classes": {"accuracy": (counts.diag() / counts.sum(1)).mean()},
    }


@exercise(lambda: [((torch.rand(n) - 0.3) * n**0.5,) for n in (40, 25, 90)], tolerance=0.08)
def interval(values: Tensor) -> Table:
    """a 95 % interval of the mean, by resampling"""

    def by(x: Tensor, q: float = 0.025) -> dict[str, Tensor]:
        return {"low": x.quantile(q), "high": x.quantile(1 - q)}

    n, mean = len(values), values.mean(0, keepdim=True)
    means = values[torch.randint(n, (9000, n))].mean(1)
    return by(means), _exchanged(by(means)) | {
        "leave out 2.5 % on each side": [by(means, 0.05), by(means, 0.16)],
        "take quantiles of the means, not of the values": [by(values), by(values, 0)],
        "your means hardly differ; draw N with replacement, and average each draw": by(mean),
        "divide by sqrt(N)": by(mean + (means - mean) * n**0.5),
        "add the mean": by(means - mean),
    }


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
