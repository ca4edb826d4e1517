"""How good generated pictures are, and how one would know: distances, precision, recall, copies.

Owns: `RealPictures`, `evaluate` and the `Evaluation` that it gives. Built in lesson 07.
Implements the Fréchet distance (Heusel et al. 2017) and the kernel distance (Binkowski et al.
2018) by torchmetrics, precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2), all in
the features of the judge that comes with the package (see judge.py), so that no network is
needed. Distances in other features, Inception's for one, are other numbers: compare only what
was measured with the same features, the same reference and the same number of pictures.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import CIFAR10_CLASSES, ImageTensors, load_cifar10, to_uint8
from .model import DiffusionTransformerUNet
from .utils.judge import Judge, load_judge

try:
    from torchmetrics.classification import MulticlassConfusionMatrix
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance
except ImportError as error:
    raise ImportError('evaluation needs torchmetrics: pip install "aetherfusion[eval]"') from error

FEATURES = "AetherFusion's judge"
NEIGHBOURS = 3  # k of Kynkäänniemi et al. 2019
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 20, 500


@dataclass(frozen=True)
class Evaluation:
    """What was found about N pictures.

    Attributes:
        num_images: N; every distance falls as N grows, so compare at equal N.
        features, reference: the network and the real pictures that they were compared in and with.
        frechet: Fréchet distance, 0 or more; 0 for equal Gaussians.
        frechet_soft: the same after a 3x3 blur of both sides; faint pixel noise, which dominates
            the other one, hardly counts in it.
        kernel: squared kernel distance; about 0 for equal distributions.
        precision: the share of the pictures that lie among the real ones, in [0, 1].
        recall: the share of the real ones that lie among the pictures, in [0, 1]. Both are of sets
            of one size: of the first N real ones or, if there are fewer, of as many pictures,
            drawn at random.
        class_accuracy: the share that the judge names as the class asked for, in [0, 1].
        confusion: (classes, classes) counts; row: asked for, column: named.
        copy_ratio: median distance to the nearest training picture, in pixels, over that of real
            pictures that are not in the training set. Near 1 is right, near 0 are copies; smooth
            pictures lie a little nearer to everything.
        floor: `frechet`, `frechet_soft`, `kernel`, `precision`, `recall` and `class_accuracy` of N
            training pictures in the place of ours: what a perfect model would get. Precision and
            class accuracy may lie above it, where a model makes only plain pictures.
    """

    num_images: int
    features: str
    reference: str
    frechet: float
    frechet_soft: float
    kernel: float
    precision: float
    recall: float
    class_accuracy: float
    confusion: Tensor
    copy_ratio: float
    floor: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return asdict(self) | {"confusion": self.confusion.tolist()}

    def __str__(self) -> str:
        """A table of a dozen lines."""
        lines = [
            f"{self.num_images:,} pictures, features of {self.features}, against {self.reference}",
            f"{'':22}{'pictures':>10}{'real':>10}",
        ]
        for name, words, digits in [
            ("frechet", "Fréchet distance", 1),
            ("frechet_soft", "the same, softened", 1),
            ("kernel", "kernel distance", 3),
            ("precision", "precision", 3),
            ("recall", "recall", 3),
            ("class_accuracy", "class accuracy", 3),
        ]:
            ours, real = getattr(self, name), self.floor[name]
            lines.append(f"{words:22}{ours:10.{digits}f}{real:10.{digits}f}")
        return "\n".join([*lines, f"{'copy ratio':22}{self.copy_ratio:10.3f}{1:10.3f}"])


@dataclass(frozen=True)
class _Seen:
    """Pictures as the judge sees them: features (N, D) as they are and softened, verdicts (N,)."""

    features: Tensor
    soft: Tensor
    verdicts: Tensor


def check_model(model: DiffusionTransformerUNet) -> None:
    """Refuses a model whose pictures the judge of the package cannot know.

    Raises:
        ValueError: unless they are of the ten classes of CIFAR-10, 32x32, in colour.
    """
    wanted = "the judge knows the ten classes of CIFAR-10 in 32x32 pixels and in colour; this model"
    if (model.num_classes, model.channels, model.image_size) != (10, 3, 32):
        raise ValueError(
            f"{wanted} has {model.num_classes} classes in {model.image_size}x{model.image_size}, "
            f"{model.channels} channels"
        )
    if model.class_names not in (None, CIFAR10_CLASSES):
        raise ValueError(f"{wanted} makes {', '.join(model.class_names)}")


class RealPictures:
    """What generated pictures are compared with; looked at once, used often.

    >>> real = RealPictures(load_cifar10(train=False), load_cifar10())
    >>> print(evaluate(samples, labels, real))

    Args:
        reference: pictures that the model has not seen.
        training: pictures that it has seen.
        name: what the reference is called.
        judge: None for the one of the package.
    """

    def __init__(
        self,
        reference: ImageTensors,
        training: ImageTensors,
        *,
        name: str = "the test set of CIFAR-10",
        judge: Judge | None = None,
    ) -> None:
        self.judge = load_judge() if judge is None else judge
        self.reference, self.training = reference, training
        self.name = f"{name} ({len(reference):,})"
        self.seen = self.look_at(reference.images.float() / 255)
        self._floors: dict[tuple[int, int], dict[str, float]] = {}

    @torch.inference_mode()
    def look_at(self, images: Tensor) -> _Seen:
        """(N, 3, H, W) in [0, 1] to what the judge makes of them."""
        features, soft = [], []
        for batch in images.split(250):
            features.append(self.judge.features(batch))
            soft.append(self.judge.features(softened(batch)))
        seen = torch.cat(features)
        return _Seen(seen, torch.cat(soft), self.judge.verdicts(seen))

    def floor(self, num_images: int, seed: int = 0) -> dict[str, float]:
        """The scores of so many training pictures, drawn by a seed, in the place of ours."""
        if (num_images, seed) not in self._floors:
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randperm(len(self.training), generator=generator)[:num_images]
            seen = self.look_at(self.training.images[drawn].float() / 255)
            hits = seen.verdicts == self.training.labels[drawn]
            self._floors[num_images, seed] = _distances(seen, self.seen) | {
                "class_accuracy": float(hits.float().mean())
            }
        return self._floors[num_images, seed]


def evaluate(images: Tensor, labels: Tensor, real: RealPictures | None = None) -> Evaluation:
    """Compares generated pictures with real ones.

    >>> labels = torch.arange(2000) % 10
    >>> print(evaluate(generate_images(model, 2000, labels=labels), labels))

    Args:
        images: (N, 3, 32, 32) floats in [0, 1].
        labels: (N,) integers, the classes that were asked for.
        real: None for CIFAR-10: the test set as the reference, the training set beside it.

    Raises:
        ValueError: for fewer than 10 pictures, values out of [0, 1], or labels that do not fit.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"expected float images (N, 3, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    if len(images) < 10:
        raise ValueError(f"at least 10 pictures are needed to compare, got {len(images)}")
    low, high = (float(end) for end in images.aminmax())
    if not (low >= 0 and high <= 1):  # written so that nan is refused
        raise ValueError(
            f"images must be in [0, 1], got [{low:.2f}, {high:.2f}]; aetherfusion.to_unit brings "
            "[-1, 1] there, and nan comes from a model whose training diverged"
        )
    if labels.shape != (len(images),):
        raise ValueError(f"expected {len(images)} labels, one a picture, got {tuple(labels.shape)}")
    if real is None:
        real = RealPictures(load_cifar10(train=False), load_cifar10())
    if images.shape[1:] != real.reference.images.shape[1:]:
        raise ValueError(
            f"the real pictures are {tuple(real.reference.images.shape[1:])}, "
            f"these {tuple(images.shape[1:])}"
        )
    classes = real.judge.classify.out_features
    if labels.is_floating_point() or not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be integers in [0, {classes}), "
            f"got {labels.dtype} in [{labels.min()}, {labels.max()}]"
        )
    # A picture is what can be written to a file: 256 values.
    images = (images.float() * 255).round() / 255
    seen = real.look_at(images)
    confusion = MulticlassConfusionMatrix(classes)(seen.verdicts, labels)
    others = real.reference.images[: len(images)].float() / 255
    pool = real.training.images
    return Evaluation(
        num_images=len(images),
        features=FEATURES,
        reference=real.name,
        **_distances(seen, real.seen),
        class_accuracy=float(confusion.diag().sum() / confusion.sum()),
        confusion=confusion,
        copy_ratio=float(
            nearest_pictures(images, pool)[0].median() / nearest_pictures(others, pool)[0].median()
        ),
        floor=real.floor(len(images)),
    )


def softened(images: Tensor) -> Tensor:
    """(N, C, H, W) to the same, each pixel mixed with its neighbours by 1 2 1, both ways."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=images.dtype, device=images.device)
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


@torch.inference_mode()
def nearest_pictures(images: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of many pictures to each of ours, by root mean square difference of pixels.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        pool: (M, C, H, W) bytes.

    Returns:
        distances (N,) in [0, 1] and indices (N,) into the pool.
    """
    flat = images.flatten(1)  # (N, K)
    best = torch.full((len(flat),), torch.inf)
    index = torch.zeros(len(flat), dtype=torch.long)
    for start in range(0, len(pool), 5000):
        some = pool[start : start + 5000].flatten(1).float() / 255  # (M', K)
        distance, nearest = torch.cdist(flat, some).min(dim=1)
        index = torch.where(distance < best, nearest + start, index)
        best = torch.minimum(best, distance)
    return best / flat.shape[1] ** 0.5, index


def precision_and_recall(
    generated: Tensor, real: Tensor, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """The share of each of two sets that lies within the other one, both (N, D).

    A point lies within a set if it is nearer to one of its points than that point's k-th neighbour.

    Source: Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    if min(len(generated), len(real)) <= k:
        raise ValueError(f"more than {k} points are needed in each set")
    between = torch.cdist(generated, real)  # (N, M)

    def radii(points: Tensor) -> Tensor:
        # Each point is its own nearest one, hence k + 1.
        return torch.cdist(points, points).kthvalue(k + 1, dim=1).values

    precision = (between <= radii(real)[None, :]).any(dim=1).float().mean()
    recall = (between <= radii(generated)[:, None]).any(dim=0).float().mean()
    return float(precision), float(recall)


class _AsTheyAre(nn.Identity):
    """Tells torchmetrics that what it is given are features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """Of the Gaussians with the means and covariances of two sets, (N, D) and (M, D)."""
    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return float(metric.compute())


def kernel_distance(generated: Tensor, real: Tensor, seed: int = 0) -> float:
    """Squared, with the cubic kernel, as the mean over random subsets of both (N, D), (M, D)."""
    size = min(KERNEL_SUBSET_SIZE, len(generated), len(real))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it keeps the features, which are few
        metric = KernelInceptionDistance(
            feature=_AsTheyAre(real.shape[1]), subsets=KERNEL_SUBSETS, subset_size=size
        )
    metric.update(real, real=True)
    metric.update(generated, real=False)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # of the subsets
        return float(metric.compute()[0])


def inception_distance(images: Tensor, reference: ImageTensors) -> float:
    """The usual FID: the Fréchet distance in the features of Inception (Heusel et al. 2017).

    torchmetrics fetches the network from the internet the first time (90 MB), and runs it on
    pictures enlarged to 299x299: this takes minutes on a GPU and hours on a CPU. Published figures
    compare 50,000 pictures with the training set; fewer give a higher figure.

    Args:
        images: (N, 3, 32, 32) floats in [0, 1].
        reference: what they are compared with.

    Raises:
        ConnectionError: if the network cannot be fetched.
        ImportError: if torch-fidelity, which knows that network, is not installed.
    """
    metric = inception_metric()
    for batch in reference.images.split(100):
        metric.update(batch.to(metric.device), real=True)
    for batch in to_uint8(images).split(100):
        metric.update(batch.to(metric.device), real=False)
    return float(metric.compute())


def inception_metric() -> FrechetInceptionDistance:
    """torchmetrics' own FID, with its network, on an Nvidia GPU where there is one.

    Raises:
        ConnectionError, ImportError: see `inception_distance`.
    """
    try:
        metric = FrechetInceptionDistance(feature=2048)
    except ModuleNotFoundError as error:
        raise ImportError('this needs torch-fidelity: pip install "aetherfusion[eval]"') from error
    except OSError as error:
        raise ConnectionError(
            f"could not fetch the Inception network ({error}); the distance in the judge's own "
            "features needs no internet"
        ) from error
    # It counts in float64, which Apple's GPUs lack.
    return metric.to("cuda" if torch.cuda.is_available() else "cpu")


def _distances(seen: _Seen, real: _Seen) -> dict[str, float]:
    # Precision and recall compare two sets of one size, and every point with every other one.
    number = min(len(seen.features), len(real.features))
    drawn = torch.randperm(len(seen.features), generator=torch.Generator().manual_seed(0))[:number]
    precision, recall = precision_and_recall(seen.features[drawn], real.features[:number])
    return {
        "frechet": frechet_distance(seen.features, real.features),
        "frechet_soft": frechet_distance(seen.soft, real.soft),
        "kernel": kernel_distance(seen.features, real.features),
        "precision": precision,
        "recall": recall,
    }
