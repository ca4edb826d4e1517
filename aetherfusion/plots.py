"""The figures that more than one lesson shows.

Owns: `show_images`, the figure under it, and `save_images`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .data import to_uint8
from .utils.files import atomic_write

GAP = 2  # between two pictures, in pixels of theirs


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
        ValueError: if the ending is of no picture format, or of one that holds none so large.
    """
    from PIL import Image
    from torchvision.utils import make_grid  # slow to import, and only needed here

    path, images = Path(path), _checked(images)
    size = check_sheet(path, len(images), *images.shape[-2:], cols=cols, zoom=zoom)
    grid = make_grid(images, nrow=cols, padding=GAP, pad_value=1.0)
    # Enlarged last, as bytes: as floats it would need twelve times the memory.
    small = Image.fromarray(to_uint8(grid).permute(1, 2, 0).numpy())
    with atomic_write(path) as partial:
        small.resize(size, Image.Resampling.NEAREST).save(partial)
    return path


def check_sheet(
    path: Path, number: int, height: int, width: int, *, cols: int, zoom: int
) -> tuple[int, int]:
    """Width and height in pixels of what `save_images` would write, if it can be written.

    Raises:
        ValueError: as there, and for fewer than one column or a zoom below 1.
    """
    if cols < 1 or zoom < 1:
        raise ValueError(f"cols and zoom must be at least 1, got {cols} and {zoom}")
    cols = min(cols, number)
    rows = -(-number // cols)
    edge = 0 if number == 1 else GAP  # make_grid leaves a single picture as it is
    size = (cols * (width + edge) + edge) * zoom, (rows * (height + edge) + edge) * zoom
    return size


def _checked(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"images must be (N, 1 or 3, H, W) with N at least 1, got {tuple(images.shape)}"
        )
    if not (torch.is_floating_point(images) and images.min() >= 0 and images.max() <= 1):  # nor nan
        raise ValueError("images must be floats in [0, 1]; to_unit turns [-1, 1] into that")
    return images.detach().cpu()
