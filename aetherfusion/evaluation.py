"""How good generated images are: `evaluate`, `RealPictures`, `Evaluation`. Lesson 07 builds them.

Implements Heusel et al. 2017 (Fréchet distance), Bińkowski et al. 2018 (kernel distance) and
Kynkäänniemi et al. 2019, equations 1 and 2, in the features of the package's own classifier.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import CIFAR10_CLASSES, ImageTensors, load_cifar10
from .model import DiffusionTransformerUNet
from .utils.hardware import best_device
from .utils.judge import Judge, load_judge

try:
    from torchmetrics.classification import MulticlassConfusionMatrix
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance
except ImportError as error:
    raise ImportError('evaluation needs torchmetrics: pip install "aetherfusion[eval]"') from error

ROWS = [  # of a report: attribute, words, digits after the point
    ("frechet", "Fréchet distance", 1),
    ("frechet_soft", "the same, softened", 1),
    ("kernel", "kernel distance", 3),
    ("precision", "precision", 3),
    ("recall", "recall", 3),
    ("class_accuracy", "class accuracy", 3),
    ("copy_ratio", "copy ratio", 3),
]


@dataclass(frozen=True)
class Evaluation:
    """The figures of N generated images; `print` shows them as a table."""

    num_images: int  # N; the Fréchet distance falls as N grows, so compare at equal N
    features: str  # the network in whose features the images were compared
    reference: str  # the real images that they were compared with
    frechet: float  # Fréchet distance; 0 for equal Gaussians
    frechet_soft: float  # the same after a slight blur of both sides, which hides faint noise
    kernel: float  # squared kernel distance; about 0 for equal distributions
    precision: float  # share of the generated images that lie among the real ones
    recall: float  # share of the real images that lie among the generated ones
    class_accuracy: float  # share that the judge assigns to the class asked for
    copy_ratio: float  # pixel distance to the training images: 1 as for unseen ones, 0 for copies
    confusion: Tensor  # (classes, classes) counts; row: asked for, column: predicted
    floor: dict[str, float]  # the figures of N training images, as a perfect model would get

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON can hold."""
        return asdict(self) | {"confusion": self.confusion.tolist()}

    def __str__(self) -> str:
        lines = [
            f"{self.num_images:,} pictures, features of {self.features}, against {self.reference}",
            f"{'':22}{'pictures':>10}{'real':>10}",
        ]
        for name, words, digits in ROWS:
            found, real = getattr(self, name), self.floor[name]
            lines.append(f"{words:22}{found:10.{digits}f}{real:10.{digits}f}")
        return "\n".join(lines)


@dataclass(eq=False)
class RealPictures:
    """Real images to compare with; their features are computed once, when they are needed.

    >>> real = RealPictures(load_cifar10(train=False), load_cifar10())
    >>> print(evaluate(images, labels, real))
    """

    reference: ImageTensors  # images that the model was not trained on
    training: ImageTensors  # those that it was trained on
    name: str = "the test set of CIFAR-10"  # of the reference, for the report
    judge: Judge = field(default_factory=lambda: load_judge().to(best_device()))

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """The features (M, D) of the reference, and those of the softened reference."""
        images = self.reference.images.float() / 255
        return judge_features(images, self.judge), judge_features(softened(images), self.judge)

    def compare(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The figures of images (N, 3, H, W) in [0, 1] with labels (N,), except the copy ratio."""
        features, soft = (judge_features(x, self.judge) for x in (images, softened(images)))
        real, real_soft = self.features
        number = min(len(features), len(real))  # precision and recall need equally many of both
        drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:number]
        precision, recall = precision_and_recall(features[drawn], real[:number])
        classify = self.judge.classify
        predicted = classify(features.to(classify.weight.device)).argmax(dim=1).cpu()  # (N,)
        confusion = MulticlassConfusionMatrix(classify.out_features)(predicted, labels.cpu())
        return {
            "frechet": frechet_distance(features, real),
            "frechet_soft": frechet_distance(soft, real_soft),
            "kernel": kernel_distance(features, real),
            "precision": precision,
            "recall": recall,
            "class_accuracy": float(confusion.diag().sum() / confusion.sum()),
            "confusion": confusion,
        }

    def floor(self, num_images: int) -> dict[str, float]:
        """The figures of `num_images` training images, drawn at random."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randperm(len(self.training), generator=generator)[:num_images]
        images, labels = self.training.images[drawn].float() / 255, self.training.labels[drawn]
        found = self.compare(images, labels) | {"copy_ratio": 1.0}
        return {name: found[name] for name, _, _ in ROWS}


def evaluate(images: Tensor, labels: Tensor, real: RealPictures | None = None) -> Evaluation:
    """Compares generated images (N, 3, H, W) in [0, 1], on any device, with real ones.

    >>> labels = torch.arange(2000) % 10
    >>> print(evaluate(generate_images(model, labels=labels), labels))

    The labels (N,) are the classes asked for; without `real`, CIFAR-10 is the reference. Fewer than
    10 images, values outside [0, 1] and other labels than the judge's raise ValueError.
    """
    if real is None:
        real = RealPictures(load_cifar10(train=False), load_cifar10())
    check_images(images, labels, real)
    device = real.judge.classify.weight.device
    images = (images.to(device, torch.float32) * 255).round() / 255  # the 256 values of a file
    others = real.reference.images[: len(images)].to(device) / 255
    gap, usual = (nearest_pictures(x, real.training.images)[0].median() for x in (images, others))
    return Evaluation(
        num_images=len(images),
        features="AetherFusion's judge",
        reference=f"{real.name} ({len(real.reference):,})",
        copy_ratio=float(gap / usual),
        floor=real.floor(len(images)),
        **real.compare(images, labels.long()),
    )


def check_images(images: Tensor, labels: Tensor, real: RealPictures) -> None:
    """Raises ValueError for images or labels that `evaluate` cannot compare."""
    shape, classes = real.reference.images.shape[1:], real.judge.classify.out_features
    got = f"got {images.dtype} {tuple(images.shape)}"
    if not images.is_floating_point() or images.shape[1:] != shape or len(images) < 10:
        raise ValueError(f"images must be at least 10 floats (N, {str(tuple(shape))[1:]}, {got}")
    if not (images.min() >= 0 and images.max() <= 1):  # written so that NaN is refused
        got = f"got [{images.min():.2f}, {images.max():.2f}]; to_unit converts [-1, 1]"
        raise ValueError(f"images must be in [0, 1], {got}")
    got = f"got {labels.dtype} in [{labels.min()}, {labels.max()}], {tuple(labels.shape)}"
    fit = not labels.is_floating_point() and labels.shape == images.shape[:1]
    if not fit or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be {len(images)} integers in [0, {classes}), {got}")


def check_model(model: DiffusionTransformerUNet) -> None:
    """Raises ValueError for a model whose classes the package's judge does not know."""
    names, size = model.class_names or CIFAR10_CLASSES, model.image_size
    if (model.num_classes, model.channels, size, names) != (10, 3, 32, CIFAR10_CLASSES):
        known = "the judge knows the ten classes of CIFAR-10 in 32x32 pixels and in colour"
        got = f"{model.num_classes} classes in {size}x{size} pixels, {model.channels} channels"
        raise ValueError(f"{known}; this model has {got}: {', '.join(names)}")


@torch.no_grad()
def judge_features(images: Tensor, judge: Judge) -> Tensor:
    """Images (N, 3, H, W) in [0, 1], on any device, to features (N, D) on the CPU."""
    device = judge.classify.weight.device
    return torch.cat([judge.features(batch.to(device)).cpu() for batch in images.split(250)])


def softened(images: Tensor) -> Tensor:
    """Blurs images (N, C, H, W) with the weights 1/4, 1/2, 1/4 along rows and columns."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=images.dtype, device=images.device)
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


@torch.no_grad()
def nearest_pictures(images: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """For each image in [0, 1], its nearest one in a pool of bytes: RMS distance and index."""
    flat = images.flatten(1)  # (N, K)
    best = flat.new_full((len(flat),), torch.inf)
    index = torch.zeros_like(best, dtype=torch.long)
    for start in range(0, len(pool), 5000):
        some = pool[start : start + 5000].flatten(1).to(flat) / 255  # (M', K)
        distance, nearest = torch.cdist(flat, some).min(dim=1)
        index = torch.where(distance < best, nearest + start, index)
        best = torch.minimum(best, distance)
    return best / flat.shape[1] ** 0.5, index


def precision_and_recall(generated: Tensor, real: Tensor, k: int = 3) -> tuple[float, float]:
    """The share of each set, (N, D) or (M, D), inside the k-th neighbour balls of the other."""
    if min(len(generated), len(real)) <= k:
        raise ValueError(f"more than {k} points are needed in each set")
    between = torch.cdist(generated, real)  # (N, M)

    def radii(points: Tensor) -> Tensor:
        # Each point is its own nearest one, so k + 1.
        return torch.cdist(points, points).kthvalue(k + 1, dim=1).values

    precision = (between <= radii(real)[None, :]).any(dim=1).float().mean()
    recall = (between <= radii(generated)[:, None]).any(dim=0).float().mean()
    return float(precision), float(recall)


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """The Fréchet distance of two Gaussians, fitted to the sets (N, D) and (M, D)."""
    network = nn.Identity()  # instead of Inception: the features are already computed
    network.num_features = real.shape[1]  # type: ignore[assignment]
    metric = FrechetInceptionDistance(feature=network)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    return float(metric.compute())


def kernel_distance(generated: Tensor, real: Tensor, seed: int = 0) -> float:
    """The squared kernel distance (cubic kernel), a mean over random subsets of both sets."""
    size = min(500, len(generated), len(real))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it keeps the features, which are few
        metric = KernelInceptionDistance(feature=nn.Identity(), subsets=20, subset_size=size)
    metric.update(real.cpu(), real=True)
    metric.update(generated.cpu(), real=False)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # for the subsets
        return float(metric.compute()[0])
