"""What a training is given, checked before the first step: the mistakes that people make.

No lesson builds this; `training_steps` of lesson 05 calls it.
"""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data.distributed import DistributedSampler

NORMALIZE = "after transforms.ToTensor() add transforms.Normalize((0.5,) * 3, (0.5,) * 3)"


def check_training(
    model: nn.Module, loader: Any, criterion: Any, optimizer: Any, *, shares: dict[str, float],
    counts: dict[str, Any],
) -> None:  # fmt: skip
    """Refuses what would train for hours and come to nothing.

    Args:
        shares: options that must lie in [0, 1], by name.
        counts: options that must be whole numbers of at least 1, by name.

    Raises:
        ValueError: says what is wrong and what to do.
    """
    for name, count in counts.items():
        least = 0 if name == "seed" else 1
        if not hasattr(count, "__index__") or operator.index(count) < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {count!r}")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {share}")
    if isinstance(criterion, type):
        raise ValueError(f"criterion is a class: write {criterion.__name__}(), with brackets")
    if not hasattr(loader, "__len__") or not len(loader):
        raise ValueError(
            "trainloader must have a length, len(trainloader), and at least one batch (drop_last "
            "leaves none where there are fewer images than batch_size)"
        )
    if isinstance(getattr(loader, "sampler", None), DistributedSampler):
        raise ValueError(
            "trainloader must not have a DistributedSampler: give every process the same loader, "
            "each takes its slice of every batch"
        )
    trained = {id(p) for p in model.parameters() if p.requires_grad and not p.is_inference()}
    if not any(id(p) in trained for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "the optimizer holds no parameter of this model that can be trained: make it after the "
            "model, optim.Adam(model.parameters(), lr=1e-4), and neither freeze all weights nor "
            "make the model under torch.inference_mode()"
        )


def check_batch(batch: Any, num_classes: int | None, first: bool = True) -> tuple[Tensor, Tensor]:
    """The images and labels of a batch, the labels as int64.

    Args:
        num_classes: labels must lie below it; None if the model does not say.
        first: of its epoch; of later ones that lie on a GPU the values are not checked, because
            that would wait for it.

    Raises:
        ValueError: if it is not (images (B, C, H, W) in [-1, 1], labels (B,)).
    """
    parts = batch if isinstance(batch, (list, tuple)) else [batch]
    fits = len(parts) == 2 and all(isinstance(part, Tensor) for part in parts)
    if not fits or not parts[0].is_floating_point() or parts[0].ndim != 4:
        raise ValueError(
            "a batch must be (images (B, C, H, W), floats in [-1, 1], labels (B,)), "
            f"got {describe(batch)}"
        )
    x0, labels = parts
    if labels.shape != (len(x0),) or labels.is_floating_point():
        raise ValueError(
            f"labels must be integers of shape ({len(x0)},), one for each image, got "
            f"{describe(labels)}; use labels.long(), and labels.argmax(1) for one-hot labels"
        )
    labels = labels.long()
    if first or x0.device.type == "cpu":
        low, high = torch.stack(x0.aminmax()).tolist()
        if not (low >= -1.01 and high <= 1.01):  # NaN is refused too
            raise ValueError(f"images must be in [-1, 1], got [{low:.2f}, {high:.2f}]; {NORMALIZE}")
        if low >= 0 and len(x0) >= 8:  # one picture may be bright all over, eight are not
            raise ValueError(
                f"images must be in [-1, 1]; these seem to be in [0, 1], from {low:.2f} to "
                f"{high:.2f}: {NORMALIZE}"
            )
        if num_classes is not None and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"labels must be in [0, {num_classes}), got [{labels.min()}, {labels.max()}]; make "
                "the model with as many num_classes as the data have"
            )
    return x0, labels


def describe(value: Any) -> str:
    """What something is, in a few words."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(repr, list(value)[:5]))}"
    if isinstance(value, (list, tuple)):
        return f"{len(value)} parts ({'; '.join(describe(part) for part in value[:5])})"
    return type(value).__name__
