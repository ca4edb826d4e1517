"""Pictures on paper and in files."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from aetherfusion import save_images, show_images
from aetherfusion.plots import check_sheet


def test_file_holds_the_pixels_it_was_given(tmp_path: Path) -> None:
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    path = save_images(images, tmp_path / "new" / "grid.png", cols=2, zoom=2)
    pixels = torch.tensor(list(Image.open(path).getdata())).float() / 255
    width, height = Image.open(path).size
    grid = pixels.reshape(height, width, 3)
    assert (width, height) == (2 * (8 + 4) + 4, 2 * (8 + 4) + 4)
    # The second picture stands right of the first, the third below it.
    for k, (row, column) in enumerate([(4, 4), (4, 16), (16, 4)]):
        for y in range(4):
            for x in range(4):
                shown = grid[row + 2 * y + 1, column + 2 * x + 1]
                assert (shown - images[k, :, y, x]).abs().max() <= 0.5 / 255 + 1e-6
    assert (grid[20, 20] == 1).all(), "an empty place is white"


@pytest.mark.parametrize(("number", "cols"), [(1, 5), (3, 5), (7, 3)])
def test_sheet_is_as_large_as_promised(tmp_path: Path, number: int, cols: int) -> None:
    path = tmp_path / "grid.png"
    size = check_sheet(path, number, 4, 6, cols=cols, zoom=3)
    small = save_images(torch.rand(number, 3, 4, 6), tmp_path / "small.png", cols=cols, zoom=1)
    save_images(torch.rand(number, 3, 4, 6), path, cols=cols, zoom=3)
    assert Image.open(path).size == size == tuple(3 * side for side in Image.open(small).size)


def test_figure_has_a_place_for_every_picture() -> None:
    show_images(torch.rand(7, 3, 8, 8), cols=3, titles=[str(k) for k in range(7)])
    figure = plt.gcf()
    assert len(figure.axes) == 9
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == [str(k) for k in range(7)]
    show_images(torch.rand(2, 1, 8, 8))
    assert plt.gcf().axes[0].images[0].get_array().shape == (8, 8)
    plt.close("all")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be floats in \[0, 1\]"):
        show_images(torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 1 or 3, H, W\)"):
        show_images(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"must be floats in \[0, 1\]"):
        save_images(torch.full((2, 3, 8, 8), torch.nan), tmp_path / "grid.png")
    with pytest.raises(ValueError, match="cols and zoom must be at least 1, got 0 and 4"):
        save_images(torch.rand(2, 3, 8, 8), tmp_path / "grid.png", cols=0)
    with pytest.raises(ValueError, match="70000 pixels are too many for this format"):
        save_images(torch.rand(1, 3, 7, 7), tmp_path / "grid.jpg", zoom=10_000)
    with pytest.raises(ValueError, match=r"end the name in \.png"):
        save_images(torch.rand(1, 3, 8, 8), tmp_path / "grid.horse")
    assert not list(tmp_path.iterdir())
