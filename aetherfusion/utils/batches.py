"""Checks of what a training is given, for the mistakes that people make. No lesson builds this."""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data.distributed import DistributedSampler


def check_training(
    model: nn.Module, loader: Any, criterion: Any, optimizer: Any, settings: Any, every: int
) -> None:
    """Refuses what would train for hours and come to nothing, with a ValueError."""
    for name, value in {**settings, "checkpoint_every": every}.items():
        if name in ("label_dropout", "decay"):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        elif (name, value) != ("max_steps", None) and (
            not hasattr(value, "__index__") or (value < 1 and name != "seed")
        ):
            raise ValueError(f"{name} must be a whole number, positive or a seed, got {value!r}")
    if isinstance(criterion, type):
        raise ValueError(f"criterion is a class: write {criterion.__name__}(), with brackets")
    if not operator.length_hint(loader):
        raise ValueError("trainloader must have a length and at least one batch, see drop_last")
    if isinstance(getattr(loader, "sampler", None), DistributedSampler):
        advice = "give every process the same loader, each takes its slice of every batch"
        raise ValueError(f"trainloader must not have a DistributedSampler: {advice}")
    trained = {id(p) for p in model.parameters() if p.requires_grad and not p.is_inference()}
    if not any(id(p) in trained for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "the optimizer holds no parameter of this model that can be trained: make it after the "
            "model, and do not freeze all weights or make the model under torch.inference_mode()"
        )


def check_batch(batch: Any, num_classes: int | None, first: bool = True) -> tuple[Tensor, Tensor]:
    """The images (B, C, H, W) in [-1, 1] and labels (B,), int64, of a batch, or a ValueError.

    On a GPU only the values of the first batch of an epoch are checked: it has to wait for that.
    """
    parts = batch if isinstance(batch, (list, tuple)) else [batch]
    fits = len(parts) == 2 and all(isinstance(part, Tensor) for part in parts)
    if not fits or not parts[0].is_floating_point() or parts[0].ndim != 4:
        wanted = "a batch must be (images (B, C, H, W), floats in [-1, 1], labels (B,))"
        raise ValueError(f"{wanted}, got {describe(batch)}")
    x0, labels = parts
    if labels.shape != (len(x0),) or labels.is_floating_point():
        raise ValueError(
            f"labels must be integers of shape ({len(x0)},), one for each image, got "
            f"{describe(labels)}; use labels.long(), and labels.argmax(1) for one-hot labels"
        )
    labels = labels.long()
    if first or x0.device.type == "cpu":
        low, high = torch.stack(x0.aminmax()).tolist()
        # One picture may be bright all over, eight are not. NaN is refused too.
        if not (low >= -1.01 and high <= 1.01) or (first and low >= 0 and len(x0) >= 8):
            advice = "after transforms.ToTensor() add transforms.Normalize((0.5,) * 3, (0.5,) * 3)"
            raise ValueError(f"images must span [-1, 1], got [{low:.2f}, {high:.2f}]; {advice}")
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
        return f"a dict with the keys {', '.join(map(repr, value))}"
    if isinstance(value, (list, tuple)):
        return f"{len(value)} parts ({'; '.join(map(describe, value[:5]))})"
    return type(value).__name__
