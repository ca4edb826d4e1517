"""CIFAR-10 and shapes10 as one uint8 tensor each, and batches of them in [-1, 1].

Lesson 05 builds `ImageTensors` and `make_loader`; every lesson that trains uses them.
Images are bytes when stored, [0, 1] when shown, and x0 = 2 * bytes / 255 - 1 in the network.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .utils.download import CIFAR10_FOLDER, download_cifar10
from .utils.shapes import SHAPES10_CLASSES, draw_shapes10

CIFAR10_CLASSES: tuple[str, ...] = tuple(
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
)


def from_unit(images: Tensor) -> Tensor:
    """Converts [0, 1] to [-1, 1], the range of the network; any shape, floats only."""
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}; use images / 255")
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """Converts [-1, 1] to [0, 1], as float32; clamped, because samplers overshoot a little."""
    return (images.float() * 0.5 + 0.5).clamp(0, 1)


def to_uint8(images: Tensor) -> Tensor:
    """Converts [0, 1] to the nearest byte in 0, ..., 255, for files and for metrics."""
    return (images.float() * 255).round().clamp(0, 255).to(torch.uint8)


class ImageTensors(Dataset[Any]):
    """A whole image data set in one tensor, so that a batch is a single indexing operation.

    >>> dataset = ImageTensors(images, labels, ("cat", "dog"), flip=True).to("cuda")

    Images are (N, 1 or 3, H, W) uint8, and labels (N,) whole numbers in [0, len(class_names)).
    `flip` mirrors each image left to right with probability 1/2, every time it is read.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, class_names: Sequence[str], *, flip: bool = False
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            got = f"got {images.dtype} {tuple(images.shape)}; to_uint8 converts from [0, 1]"
            raise ValueError(f"images must be uint8 of shape (N, 1 or 3, H, W), {got}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"got labels of shape {tuple(labels.shape)} for {len(images)} images")
        outside = labels[(labels < 0) | (labels >= len(class_names))]
        if len(outside):
            raise ValueError(f"labels must be in [0, {len(class_names)}), got {outside[0]}")
        self.images, self.labels = images, labels.long()
        self.class_names, self.flip = tuple(class_names), flip

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """The images at these indices, (B, C, H, W) in [-1, 1], and their labels (B,)."""
        index = torch.as_tensor(indices, dtype=torch.int64)  # (B,)
        if ((index < -len(self)) | (index >= len(self))).any():  # would end the process on a GPU
            raise IndexError(f"index out of range: the data set has {len(self)} images")
        index = index.to(self.images.device, non_blocking=self.images.is_cuda)
        images = self.images[index]  # (B, C, H, W) uint8
        if self.flip:
            mirrored = torch.rand(len(index), 1, 1, 1) < 0.5  # on the CPU: the same on any device
            mirrored = mirrored.to(images.device, non_blocking=images.is_cuda)
            images = torch.where(mirrored, images.flip(-1), images)
        return from_unit(images.float() / 255), self.labels[index]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:  # for a DataLoader
        return list(zip(*self.batch(indices), strict=True))

    def to(self, device: str | torch.device) -> "ImageTensors":
        """A copy of the data set, whose images and batches are on `device`."""
        moved = copy.copy(self)
        moved.images, moved.labels = self.images.to(device), self.labels.to(device)
        return moved


def make_loader(
    dataset: Dataset[Any], batch_size: int = 64, *, shuffle: bool = True, drop_last: bool = True
) -> DataLoader[Any]:
    """A `DataLoader` of any data set of (image, label), with the defaults that training needs.

    >>> for images, labels in make_loader(load_shapes10(), batch_size=128): ...
    """
    size = len(dataset)  # type: ignore[arg-type]
    if drop_last and size < batch_size:
        raise ValueError(
            f"{size} images are fewer than batch_size={batch_size}; lower it or use drop_last=False"
        )
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)


def data_root(root: str | Path | None = None) -> Path:
    """The folder of CIFAR-10: `root`, $AETHERFUSION_DATA, ./data if it is there, or a cache."""
    from pooch import os_cache  # slow to import, and only needed here

    default = "data" if Path("data", CIFAR10_FOLDER).is_dir() else os_cache("aetherfusion")
    return Path(root or os.environ.get("AETHERFUSION_DATA") or default).expanduser()


def _read_cifar10(root: Path, train: bool) -> Any:
    from torchvision.datasets import CIFAR10  # slow to import, and only needed here

    try:
        return CIFAR10(root, train=train)  # compares every md5 before it unpickles anything
    except RuntimeError:  # a file is missing or its md5 is wrong
        return None


def find_cifar10(root: str | Path | None = None) -> Path | None:
    """The folder that holds a complete CIFAR-10, or None; see `data_root`."""
    folder = data_root(root)
    return None if _read_cifar10(folder, train=False) is None else folder


def load_cifar10(
    root: str | Path | None = None,
    *,
    train: bool = True,
    flip: bool | None = None,
    download: bool = True,
) -> ImageTensors:
    """CIFAR-10 (Krizhevsky 2009): 50,000 training or 10,000 test images of 32 by 32 pixels.

    The folder `root` contains `cifar-10-batches-py`; see `data_root`. `flip=None` mirrors training
    images only. If the data set (170 MB) is missing or damaged, it is downloaded; without
    `download`, that is a FileNotFoundError.
    """
    folder = data_root(root)
    source = _read_cifar10(folder, train)
    if source is None and download:
        download_cifar10(folder)
        source = _read_cifar10(folder, train)
    if source is None:
        raise FileNotFoundError(
            f"there is no complete CIFAR-10 in {folder}; use download=True, set AETHERFUSION_DATA "
            "to the folder that has it, or use load_shapes10(), which needs no files"
        )
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    labels = torch.tensor(source.targets)  # (N,)
    return ImageTensors(images, labels, CIFAR10_CLASSES, flip=train if flip is None else flip)


def load_shapes10(num_images: int = 10_000, *, seed: int = 0, image_size: int = 32) -> ImageTensors:
    """Draws ten classes of shapes, in turn, without a download; another seed gives others."""
    images, labels = draw_shapes10(num_images, seed=seed, image_size=image_size)
    return ImageTensors(images, labels, SHAPES10_CLASSES)
