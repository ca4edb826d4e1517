"""Evaluation: every figure against a closed form, a loop, or a set whose answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from aetherfusion import (
    ImageTensors,
    evaluation,
    generate_images,
    load_cifar10,
    load_pretrained,
    load_shapes10,
)
from aetherfusion.evaluation import (
    RealPictures,
    evaluate,
    frechet_distance,
    kernel_distance,
    nearest_pictures,
    precision_and_recall,
    softened,
)
from aetherfusion.utils.hardware import best_device
from aetherfusion.utils.judge import load_judge


class MeanColours(nn.Module):
    """A judge whose features are three colours; the strongest of them is the predicted class."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.classify.weight)

    def features(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def coloured(number: int, seed: int, wrong: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy red, green and blue pictures, (N, 3, 4, 4) in [0, 1]; the first ones mislabelled."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    images = 0.6 * torch.rand(number, 3, 4, 4, generator=generator)
    images[torch.arange(number), labels] += 0.4
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return images, labels


def as_bytes(number: int, seed: int) -> ImageTensors:
    images, labels = coloured(number, seed)
    return ImageTensors((255 * images).round().byte(), labels, ("red", "green", "blue"))


@pytest.fixture
def real() -> RealPictures:
    return RealPictures(as_bytes(90, 1), as_bytes(120, 2), judge=MeanColours())  # type: ignore[arg-type]


def gaussian(number: int, mean: float, scale: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.tensor([[1.0, 0.3, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])
    return scale * torch.randn(number, 3, generator=generator) @ mix + mean


def test_frechet_distance_is_its_definition() -> None:
    a, b = gaussian(400, 0.0, 1.0, 0), gaussian(500, 0.5, 2.0, 1)
    means = (a.mean(0) - b.mean(0)).square().sum()
    ca, cb = np.cov(a.numpy().T), np.cov(b.numpy().T)
    expected = float(means) + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)


def test_frechet_distance_of_known_gaussians() -> None:
    """N(0, 1) and N(m, s^2) in each of three directions: 3 (m^2 + (s - 1)^2)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100_000, 3, generator=generator)
    y = 0.7 + 1.5 * torch.randn(100_000, 3, generator=generator)
    assert frechet_distance(y, x) == pytest.approx(3 * (0.7**2 + 0.5**2), rel=0.03)


def test_kernel_distance_is_its_definition() -> None:
    a, b = gaussian(40, 0.0, 1.0, 0), gaussian(40, 0.5, 1.3, 1)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    aa, bb, ab, n = kernel(a, a), kernel(b, b), kernel(a, b), len(a)
    expected = (aa.sum() - aa.trace() + bb.sum() - bb.trace()) / (n * (n - 1)) - 2 * ab.mean()
    assert kernel_distance(a, b) == pytest.approx(float(expected), rel=1e-3)


def test_kernel_distance_draws_its_subsets_by_the_seed_alone() -> None:
    a, b = gaussian(700, 0.0, 1.0, 0), gaussian(700, 0.1, 1.0, 1)
    torch.manual_seed(5)
    first, after = kernel_distance(a, b), torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1)) and kernel_distance(a, b) == first


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
def test_an_accelerator_finds_the_same_and_keeps_its_random_numbers() -> None:
    """Images on another device than the judge's are accepted, in both directions."""
    device = best_device()
    reference, training = load_shapes10(200, seed=0), load_shapes10(400, seed=1)
    images, labels = load_shapes10(100, seed=2).images.float() / 255, torch.arange(100) % 10
    found = evaluate(images, labels, RealPictures(reference, training, judge=load_judge()))
    again = evaluate(images.to(device), labels.to(device), RealPictures(reference, training))
    crossed = evaluate(images, labels, RealPictures(reference, training.to(device)))
    for name, _, _ in evaluation.ROWS:
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=0.02, abs=0.02)
        assert getattr(again, name) == getattr(crossed, name)
    torch.manual_seed(5)
    first = torch.rand(1, device=device)
    torch.manual_seed(5)
    kernel_distance(gaussian(50, 0.0, 1.0, 0).to(device), gaussian(50, 0.0, 1.0, 1).to(device))
    assert torch.equal(first, torch.rand(1, device=device))


def test_precision_and_recall_of_a_loop() -> None:
    a, b = gaussian(60, 0.0, 1.0, 0), gaussian(50, 0.8, 1.6, 1)

    def share_within(points: Tensor, others: Tensor, k: int) -> float:
        inside = 0
        for x in points:
            for i, other in enumerate(others):
                rest = torch.cat([others[:i], others[i + 1 :]])
                radius = (rest - other).norm(dim=1).sort().values[k - 1]
                if (x - other).norm() <= radius:
                    inside += 1
                    break
        return inside / len(points)

    precision, recall = precision_and_recall(a, b, k=2)
    assert precision == pytest.approx(share_within(a, b, 2))
    assert recall == pytest.approx(share_within(b, a, 2))
    assert precision != recall


def test_more_pictures_than_the_reference_has(real: RealPictures) -> None:
    """Precision and recall compare as many of each; the rest counts in the distances alone."""
    images, labels = coloured(len(real.reference) + 30, 8)
    all_of_them = evaluate(images, labels, real)
    assert (all_of_them.precision, all_of_them.recall) == as_many(images, real)
    assert all_of_them.frechet != evaluate(images[: len(real.reference)], labels[:90], real).frechet


def as_many(images: Tensor, real: RealPictures) -> tuple[float, float]:
    """Precision and recall of a part as large as the reference, drawn by hand."""
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:90]
    ours = (images[drawn] * 255).round() / 255
    theirs = real.reference.images.float() / 255
    return precision_and_recall(ours.mean(dim=(2, 3)), theirs.mean(dim=(2, 3)))


def test_no_class_is_left_out_of_many(real: RealPictures) -> None:
    """The classes come in turn, and any even picking of two in five would step over some."""
    images, labels = coloured(len(real.reference) * 5 // 2, 8)
    assert torch.equal(labels[:6] % 3, torch.arange(6) % 3)
    few = evaluate(images[:90], labels[:90], real)
    assert evaluate(images, labels, real).recall > few.recall - 0.1


def test_bad_pictures_count_wherever_they_stand(real: RealPictures) -> None:
    """In more pictures than the reference has, sorted, none of the later ones is forgotten."""
    number = len(real.reference)
    good = real.reference.images.float() / 255
    absurd = torch.ones_like(good)  # white, which none of them is
    found = evaluate(torch.cat([good, absurd]), torch.zeros(2 * number, dtype=torch.long), real)
    assert 0.4 < found.precision < 0.6


def test_precision_and_recall_tell_the_two_faults_apart() -> None:
    real = gaussian(200, 0.0, 1.0, 0)
    dull = 0.01 * gaussian(200, 0.0, 1.0, 1)  # all alike, in the middle
    wild = gaussian(200, 0.0, 12.0, 2)  # everywhere
    precision, recall = precision_and_recall(dull, real)
    assert precision == 1 and recall < 0.1
    precision, recall = precision_and_recall(wild, real)
    assert precision < 0.2 and recall > 0.8
    with pytest.raises(ValueError, match="more than 3 points"):
        precision_and_recall(real[:3], real)


def test_softening_is_the_blur_that_it_says() -> None:
    spot = torch.zeros(1, 1, 5, 5)
    spot[0, 0, 2, 2] = 16
    middle = softened(spot)[0, 0, 1:4, 1:4]
    assert middle.tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    flat = torch.full((2, 3, 4, 4), 0.3)
    assert torch.allclose(softened(flat), flat)
    checkerboard = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * torch.ones(1, 2, 1, 1)
    assert torch.allclose(softened(checkerboard)[..., 1:-1, 1:-1], torch.tensor(0.5))


def test_the_nearest_picture_is_found() -> None:
    pool = as_bytes(12_000, 3).images
    images = pool[[7000, 11_999, 0]].float() / 255
    images[1] += 0.01
    distances, index = nearest_pictures(images, pool)
    assert index.tolist() == [7000, 11_999, 0]
    assert distances.tolist() == pytest.approx([0, 0.01, 0], abs=2e-4)
    one, where = nearest_pictures(coloured(1, 9)[0], pool)
    every = (coloured(1, 9)[0] - pool.float() / 255).square().mean(dim=(1, 2, 3)).sqrt()
    assert where.item() == every.argmin() and one.item() == pytest.approx(every.min().item(), 1e-3)


def test_it_counts_what_is_named(real: RealPictures) -> None:
    images, labels = coloured(60, 4, wrong=6)
    found = evaluate(images, labels, real)
    named = images.mean(dim=(2, 3)).argmax(1)
    by_hand = torch.zeros(3, 3, dtype=torch.long)
    for asked, said in zip(labels, named, strict=True):
        by_hand[asked, said] += 1
    assert torch.equal(found.confusion, by_hand)
    assert found.class_accuracy == pytest.approx(float((labels == named).float().mean()))
    assert 0.8 < found.class_accuracy < 1


def test_real_pictures_are_at_the_floor_and_copies_are_caught(real: RealPictures) -> None:
    fresh, labels = coloured(60, 5)
    found = evaluate(fresh, labels, real)
    assert found.num_images == 60 and found.recall > 0.7 and found.precision > 0.7
    assert found.frechet < 3 * found.floor["frechet"] + 1e-3
    assert found.copy_ratio == pytest.approx(1, abs=0.15)
    copies = evaluate(real.training.images[:60].float() / 255, real.training.labels[:60], real)
    assert copies.copy_ratio < 0.01
    grey = evaluate(torch.full_like(fresh, 0.5), labels, real)
    assert grey.recall == 0 and grey.frechet > 5 * found.frechet


def test_the_order_of_the_pictures_does_not_matter(real: RealPictures) -> None:
    images, labels = coloured(60, 4)
    other = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    a, b = evaluate(images, labels, real), evaluate(images[other], labels[other], real)
    for name in ("frechet", "frechet_soft", "precision", "recall", "class_accuracy", "copy_ratio"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-3, abs=1e-5), name


def test_the_report_says_what_it_is_about(real: RealPictures) -> None:
    images, labels = coloured(30, 6)
    found = evaluate(images, labels, real)
    text = str(found)
    for words in ("30 pictures", "judge", "CIFAR-10 (90)", "Fréchet", "recall", "copy ratio"):
        assert words in text
    again = json.loads(json.dumps(found.as_dict()))
    assert again["num_images"] == 30 and again["frechet"] == found.frechet
    assert np.sum(again["confusion"]) == 30
    assert set(found.floor) <= set(again) and all(map(math.isfinite, found.floor.values()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:9], y[:9]), "at least 10"),
        (lambda x, y: (x * 2 - 1, y), r"\[0, 1\]"),
        (lambda x, y: (x, y[:-1]), "30 integers"),
        (lambda x, y: ((255 * x).byte(), y), "float"),
        (lambda x, y: (x[:, :1], y), r"\(N, 3, 4, 4\)"),
        (lambda x, y: (x.masked_fill(x == x.max(), torch.nan), y), r"\[0, 1\], got .*nan"),
        (lambda x, y: (x[..., :3, :3], y), r"\(N, 3, 4, 4\), got .* \(30, 3, 3, 3\)"),
        (lambda x, y: (x, y + 1), r"integers in \[0, 3\), got torch.int64 in \[1, 3\]"),
        (lambda x, y: (x, y - 1), r"integers in \[0, 3\)"),
        (lambda x, y: (x, y.float()), r"integers in \[0, 3\), got torch.float32"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, words: str, real: RealPictures) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        evaluate(*change(*coloured(30, 7)), real)


def test_the_shipped_model_makes_what_it_is_asked_for(cifar10_root: Path) -> None:
    images, labels = generate_images(load_pretrained(), 100, seed=1), torch.arange(100) % 10
    test = load_cifar10(cifar10_root, train=False)
    few = ImageTensors(test.images[:500], test.labels[:500], test.class_names)
    training = load_cifar10(cifar10_root)
    found = evaluate(images, labels, RealPictures(few, training))
    assert found.class_accuracy >= 0.85
    assert found.frechet < 80 and found.frechet_soft < 60
    assert 0.85 < found.copy_ratio < 1.3
