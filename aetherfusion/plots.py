"""Images in rows, on the screen and in files; every lesson uses this and none builds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .data import to_uint8
from .utils.files import atomic_write

Images = Tensor | Sequence[Tensor]


def show_images(images: Images, cols: int = 5, *, titles: Any = None) -> None:
    """Shows images in rows: floats (N, C, H, W) in [0, 1], 1 or 3 channels, or a list of (C, H, W).

    >>> show_images(samples, titles=["cat", "dog"])  # or a tensor of labels; one for each image
    """
    import matplotlib.pyplot as plt

    image_figure(images, cols, titles=titles)
    plt.show()


def image_figure(images: Images, cols: int = 5, *, titles: Any = None, size: float = 1.35) -> Any:
    """The matplotlib figure of `show_images`, in which an image is `size` inches wide."""
    import matplotlib.pyplot as plt
    from torchvision.utils import make_grid  # slow to import, and only needed here

    images, cols = _stacked(images), min(cols, len(images))
    width = images.shape[3] + 2  # of an image with white edges
    top = 1 if titles is None else 1 + int(0.22 / size * width)  # leaves space for the titles
    images = F.pad(images, (1, 1, top, 1), value=1)
    grid = make_grid(images, cols, padding=0, pad_value=1)  # (3, rows * height, cols * width)
    inches = size / width * grid.shape[2], size / width * grid.shape[1]
    figure = plt.figure(figsize=inches)
    ax = figure.add_axes((0, 0, 1, 1))  # one for all images, because a hundred axes are slow
    ax.imshow(to_uint8(grid).permute(1, 2, 0).numpy())
    ax.axis("off")
    for i, title in enumerate([] if titles is None else titles[: len(images)]):
        row, col = divmod(i, cols)
        name = str(title.item() if isinstance(title, Tensor) else title)
        x, y = (col + 0.5) * width - 0.5, row * images.shape[2] + top - 1.5
        ax.text(x, y, name, fontsize=9, ha="center", va="bottom")
    return figure


def save_images(images: Images, path: str | Path, *, cols: int = 5, zoom: int = 4) -> Path:
    """Writes images, as in `show_images`, to one file; every pixel is `zoom` pixels wide."""
    from torchvision.utils import make_grid

    check_picture_name(path)
    grid = to_uint8(make_grid(_stacked(images), cols, pad_value=1))  # (3, H, W)
    pixels = grid.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2).permute(1, 2, 0)
    with atomic_write(path) as partial:
        Image.fromarray(pixels.numpy()).save(partial)
    return Path(path)


def check_picture_name(path: str | Path) -> None:
    """Raises ValueError if `path` does not end in a picture format, before any work is lost."""
    if Image.registered_extensions().get(Path(path).suffix.lower()) not in Image.SAVE:
        raise ValueError(f"{path} must end in a picture format such as .png")


def _stacked(images: Images) -> Tensor:
    images = images if isinstance(images, Tensor) else torch.stack(list(images))
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images must be (N > 0, 1 or 3, H, W), got {tuple(images.shape)}")
    if not (images.is_floating_point() and images.min() >= 0 and images.max() <= 1):  # nor NaN
        raise ValueError("images must be floats in [0, 1]; to_unit converts from [-1, 1]")
    return images.detach().cpu()
