"""Owns the data: CIFAR-10 and shapes10 as one uint8 tensor, batches, flips and the range [-1, 1].

Lesson 05 builds it; every lesson that trains uses it. A picture is stored as bytes (uint8), is
[0, 1] when people look at it and [-1, 1] when a network does:

    unit = bytes / 255,    image = 2 * unit - 1.

This file is the only place where one becomes the other. `download.py` fetches CIFAR-10 and
`shapes.py` draws the stand-in for it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .utils.download import CIFAR10_FOLDER, download_cifar10
from .utils.shapes import SHAPES10_CLASSES as SHAPES10_CLASSES  # handed on: import it from here
from .utils.shapes import draw_shapes10

CIFAR10_CLASSES: tuple[str, ...] = tuple(
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
)


def from_unit(images: Tensor) -> Tensor:
    """[0, 1] to [-1, 1]: the range the network sees. Any shape, floats only.

    Raises:
        ValueError: the tensor holds integers, which are bytes in [0, 255] more often than not.
    """
    if not images.is_floating_point():
        raise ValueError(
            f"from_unit expects floats in [0, 1], got {images.dtype}; "
            "bytes become such floats by images.float() / 255"
        )
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], as float32 and clamped: a sampler may overshoot the range a little."""
    return (images.float() * 0.5 + 0.5).clamp(0, 1)


def to_uint8(images: Tensor) -> Tensor:
    """[0, 1] to the nearest byte in 0 ... 255, for files and for metrics. Any shape."""
    return (images.float() * 255).round().clamp(0, 255).to(torch.uint8)


class ImageTensors(Dataset[Any]):
    """A whole image data set in one tensor, so that a batch is one indexing operation.

        dataset = ImageTensors(images, labels, ("cat", "dog"), flip=True).to("cuda")
        loader = make_loader(dataset, batch_size=128)

    CIFAR-10 takes 150 MB this way: it fits on any GPU, and no worker process is needed. A bare
    `DataLoader` works too; `make_loader` is faster, as it takes a batch at once.

    Args:
        images: (N, 3, H, W) uint8.
        labels: (N,) int64 in [0, len(class_names)), on the same device as the images.
        class_names: the name of label 0, of label 1, ...
        flip: mirror each image left to right with probability 1/2, anew each time it is read.

    Raises:
        ValueError: a dtype, a shape, the number of labels or a label is wrong.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, class_names: Sequence[str], *, flip: bool = False
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                "images must be a uint8 tensor of shape (N, 3, H, W), got "
                f"{images.dtype} of shape {tuple(images.shape)}; to_uint8 makes bytes of [0, 1]"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels must be an int64 tensor of shape ({len(images)},), one for each image, "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if images.device != labels.device:
            raise ValueError(f"images are on {images.device}, labels on {labels.device}")
        if len(labels) > 0:
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(class_names):
                raise ValueError(
                    f"labels must be in [0, {len(class_names)}), one for each class name, "
                    f"got {low if low < 0 else high}"
                )
        self.images = images
        self.labels = labels
        self.class_names = tuple(class_names)
        self.flip = flip

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image (3, H, W) in [-1, 1], float32, and its label."""
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """These images, (B, 3, H, W) float32 in [-1, 1], and their labels (B,)."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        # Checked here, as on a GPU an index out of range ends the whole process.
        if len(index) > 0 and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(f"index out of range: the data set has {len(self)} images")
        index = self._here(index)
        images = self.images[index]  # (B, 3, H, W) uint8
        if self.flip:
            # The coin is tossed on the CPU, so every device sees the same images for a seed.
            coin = self._here(torch.rand(len(indices)) < 0.5)  # (B,)
            images = torch.where(coin[:, None, None, None], images.flip(-1), images)
        return from_unit(images.float() / 255), self.labels[index]

    def _here(self, tensor: Tensor) -> Tensor:
        """Move a small CPU tensor to the images, on CUDA without waiting for the GPU's queue."""
        return tensor.to(self.images.device, non_blocking=self.images.is_cuda)

    def to(self, device: str | torch.device) -> ImageTensors:
        """A copy of the data set that lives, and makes its batches, on `device`."""
        moved = copy.copy(self)
        moved.images, moved.labels = self.images.to(device), self.labels.to(device)
        return moved

    def __repr__(self) -> str:
        size = "x".join(str(n) for n in self.images.shape[1:])
        return (
            f"ImageTensors({len(self)} images of {size}, {len(self.class_names)} classes, "
            f"flip={self.flip}, on {self.images.device})"
        )


class _WholeBatches(Dataset[Any]):
    """Lets a `DataLoader` ask once for each batch, in place of once for each image."""

    def __init__(self, dataset: ImageTensors) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.dataset.batch(indices)


def _as_it_is(batch: Any) -> Any:
    return batch


def make_loader(
    dataset: ImageTensors, batch_size: int = 64, *, shuffle: bool = True, drop_last: bool = True
) -> DataLoader[Any]:
    """An ordinary `DataLoader` of (images (B, 3, H, W) in [-1, 1], labels (B,)).

        for images, labels in make_loader(load_shapes10(), batch_size=128): ...

    Raises:
        ValueError: with `drop_last`, a data set smaller than one batch would give no batch at all.
    """
    size = len(dataset)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if drop_last and size < batch_size:
        raise ValueError(
            f"the data set has {size} images, fewer than batch_size={batch_size}, and drop_last "
            "leaves out the last, incomplete batch: lower batch_size or pass drop_last=False"
        )
    return DataLoader(
        _WholeBatches(dataset),
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        num_workers=0,  # the data is in memory: a worker process would only copy it about
        collate_fn=_as_it_is,
    )


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds data sets: `root`, else $AETHERFUSION_DATA, else ./data."""
    return Path(root or os.environ.get("AETHERFUSION_DATA") or "data").expanduser()


def find_cifar10(root: str | Path | None = None) -> Path | None:
    """The folder under which a complete CIFAR-10 lies (see `data_root`), or None.

    Every file is read and its md5 compared, which takes about half a second.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    place = data_root(root)
    files = [*CIFAR10.train_list, *CIFAR10.test_list]
    files.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    intact = all(check_integrity(place / CIFAR10_FOLDER / name, md5) for name, md5 in files)
    return place if intact else None


def load_cifar10(
    root: str | Path | None = None,
    *,
    train: bool = True,
    flip: bool | None = None,
    download: bool = True,
    progress: bool = True,
) -> ImageTensors:
    """CIFAR-10 (Krizhevsky 2009): 50,000 images to train on or 10,000 to test on, 32 by 32.

        dataset = load_cifar10()

    Args:
        root: the folder that holds, or shall hold, `cifar-10-batches-py`; see `data_root`.
        train: the training images, else the test images.
        flip: mirror images at random; None means as `train` says.
        download: fetch the data set (170 MB) if it is missing or damaged.
        progress: show a progress bar while downloading.

    Raises:
        FileNotFoundError: the data set is missing or damaged, and `download` is False.
        ConnectionError: no mirror could deliver it.
    """
    from torchvision.datasets import CIFAR10  # slow to import, and only needed here

    place = data_root(root)
    try:
        source = CIFAR10(place, train=train, download=False)  # compares the md5 of every file
    except RuntimeError:
        if not download:
            folder = place / CIFAR10_FOLDER
            state = "is damaged or incomplete" if folder.exists() else "is not there"
            raise FileNotFoundError(
                f"CIFAR-10 {state}: expected it in {folder}. Call load_cifar10(download=True) to "
                "fetch it, or set AETHERFUSION_DATA to the folder that holds "
                f"{CIFAR10_FOLDER}, or use load_shapes10(), which needs no files."
            ) from None
        download_cifar10(place, progress=progress)
        source = CIFAR10(place, train=train, download=False)
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    labels = torch.tensor(source.targets, dtype=torch.int64)
    return ImageTensors(images, labels, CIFAR10_CLASSES, flip=train if flip is None else flip)


def load_shapes10(num_images: int = 10_000, *, seed: int = 0, image_size: int = 32) -> ImageTensors:
    """Ten drawn classes, made in memory in a second: the data set that needs no network.

        dataset = load_shapes10()

    The classes come in turn, so `dataset.images[:10]` shows each once. Another seed gives other
    images of the same kind (a test set, for instance). See `shapes.draw_shapes10`.
    """
    images, labels = draw_shapes10(num_images, seed=seed, image_size=image_size)
    return ImageTensors(images, labels, SHAPES10_CLASSES)
