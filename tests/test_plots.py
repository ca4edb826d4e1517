"""Images on the screen and in files."""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from aetherfusion import save_images, show_images
from aetherfusion.plots import check_picture_name, image_figure


def shown(figure: plt.Figure) -> torch.Tensor:
    """What a figure shows, (3, H, W) in [0, 1]."""
    (ax,) = figure.axes
    (image,) = ax.images
    return torch.as_tensor(image.get_array()).permute(2, 0, 1) / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_file_holds_the_pixels_it_was_given(tmp_path: Path, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, channels, 4, 6, generator=generator)
    path = save_images(images, tmp_path / "new" / "grid.png", cols=2, zoom=2)
    grid = torch.tensor(np.asarray(Image.open(path))).permute(2, 0, 1) / 255
    assert grid.shape == (3, 2 * (2 * (4 + 2) + 2), 2 * (2 * (6 + 2) + 2))
    # The second image is to the right of the first, and the third is below it.
    for image, top, left in zip(images, [4, 4, 16], [4, 20, 4], strict=True):
        block = grid[:, top : top + 8, left : left + 12]
        expected = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert (block - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert (grid[:, 16:, 20:] == 1).all(), "an empty place is white"


def test_figure_shows_the_images_in_rows() -> None:
    images = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    for given in (images, list(images)):
        grid = shown(image_figure(given, cols=3))
        assert grid.shape == (3, 2 * 6, 3 * 8)
        for i, image in enumerate(images):
            row, col = divmod(i, 3)
            block = grid[:, 6 * row + 1 : 6 * row + 5, 8 * col + 1 : 8 * col + 7]
            assert (block - image).abs().max() <= 0.5 / 255 + 1e-6
    assert shown(image_figure(images[:2, :1])).shape == (3, 6, 2 * 8), "no empty columns"
    plt.close("all")


@pytest.mark.parametrize("titles", [["0", "1", "2"], (0, 1, 2), torch.arange(3), range(3)])
def test_titles_are_above_their_images(titles: object) -> None:
    images = torch.zeros(3, 1, 8, 14)
    figure = image_figure(images, cols=2, titles=titles)
    figure.canvas.draw()
    grid, (ax,) = shown(figure).amin(0), figure.axes
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert (grid == 0).sum() == 3 * 8 * 14, "the titles hide nothing"
    for text in ax.texts:
        box = ax.transData.inverted().transform(text.get_window_extent().get_points())
        (left, bottom), (right, top) = box.round().astype(int).tolist()
        assert (grid[max(top, 0) : bottom, left:right] == 1).all(), "a title covers an image"
        assert grid[bottom + 3, (left + right) // 2] == 0, "a title is far from its image"
    plt.close("all")


def test_a_hundred_images_are_drawn_at_once() -> None:
    image_figure(torch.rand(2, 3, 32, 32)).canvas.draw()  # loads matplotlib
    start = time.process_time()
    image_figure(torch.rand(100, 3, 32, 32), cols=10).canvas.draw()
    assert time.process_time() - start < 2, "3.4 s with one axes for each image"
    plt.close("all")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for wrong in (torch.randn(2, 3, 8, 8), torch.full((2, 3, 8, 8), torch.nan)):
        with pytest.raises(ValueError, match=r"must be floats in \[0, 1\]; to_unit"):
            save_images(wrong, tmp_path / "grid.png")
    for shape in [(3, 8, 8), (0, 3, 8, 8), (2, 8, 8, 3)]:
        with pytest.raises(ValueError, match=r"\(N > 0, 1 or 3, H, W\), got"):
            show_images(torch.rand(shape))
    for name in ("grid.horse", "grid", "grid.psd"):  # the last can be read, not written
        with pytest.raises(ValueError, match=r"must end in a picture format such as \.png"):
            save_images(torch.rand(1, 3, 8, 8), tmp_path / name)
    assert not list(tmp_path.iterdir())
    for name in ("grid.png", "grid.JPG", "grid.webp"):
        check_picture_name(name)
        save_images(torch.rand(1, 3, 8, 8), tmp_path / name)
        assert Image.open(tmp_path / name).size == (32, 32)


def test_showing_needs_no_gradients() -> None:
    show_images(torch.rand(2, 3, 8, 8, requires_grad=True), titles=["a", "b"])
    assert [text.get_text() for text in plt.gcf().axes[0].texts] == ["a", "b"]
    plt.close("all")
