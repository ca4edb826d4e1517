"""The figures that more than one lesson shows.

Owns: `show_images`, the figure under it, and `save_images`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .data import to_uint8
from .writing import check_picture_format, written_beside


def show_images(images: Tensor, cols: int = 5, *, titles: Sequence[str] | None = None) -> None:
    """Draws pictures in rows and shows them.

    >>> show_images(samples)

    Args:
        images: (N, C, H, W) floats in [0, 1], with 1 or 3 channels.
        cols: pictures in a row.
        titles: one for each picture.
    """
    import matplotlib.pyplot as plt

    image_figure(images, cols, titles=titles)
    plt.show()


def image_figure(
    images: Tensor, cols: int = 5, *, titles: Sequence[str] | None = None, size: float = 1.35
) -> Any:
    """The matplotlib figure that `show_images` shows; arguments as there.

    Args:
        size: of one picture, in inches.
    """
    import matplotlib.pyplot as plt

    images = _checked(images)
    cols = max(1, min(cols, len(images)))
    rows = -(-len(images) // cols)
    height = size + (0.25 if titles else 0)
    figure, axes = plt.subplots(
        rows, cols, figsize=(size * cols, height * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        grey = image.shape[0] == 1
        # Bytes, not floats: what is shown is then exactly what is saved.
        ax.imshow(to_uint8(image).permute(1, 2, 0).squeeze(-1), cmap="gray" if grey else None)
        if titles:
            ax.set_title(titles[i], fontsize=9)
    return figure


def save_images(images: Tensor, path: str | Path, *, cols: int = 5, zoom: int = 4) -> Path:
    """Writes pictures in rows to one file, every pixel `zoom` pixels wide.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        path: the file, .png by preference: its ending says the format.
        cols: pictures in a row.
        zoom: whole number; 1 keeps the size.

    Raises:
        ValueError: if the ending is of no picture format.
    """
    from PIL import Image
    from torchvision.utils import make_grid  # slow to import, and only needed here

    path = Path(path)
    check_picture_format(path)
    images = _checked(images).repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    grid = make_grid(images, nrow=cols, padding=zoom * 2, pad_value=1.0)
    with written_beside(path) as partial:
        Image.fromarray(to_uint8(grid).permute(1, 2, 0).numpy()).save(partial)
    return path


def _checked(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"images must be (N, 1 or 3, H, W) with N at least 1, got {tuple(images.shape)}"
        )
    if not torch.is_floating_point(images) or images.min() < 0 or images.max() > 1:
        raise ValueError("images must be floats in [0, 1]; to_unit turns [-1, 1] into that")
    return images.detach().cpu()
