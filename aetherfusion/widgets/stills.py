"""Pictures as bytes: for a page that is alive, and a labelled still for one that is not.

Owns: `png`, `mosaic` and `still`. Behind the widgets.
"""

import io
import os
import textwrap
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data import to_uint8

INK, PAPER, MARGIN = "#1f2937", "white", 12


def png(image: Tensor) -> bytes:
    """(1, 3 or 4, H, W) floats in [0, 1] to the bytes of a PNG file; the fourth is opacity."""
    pixels = to_uint8(image.cpu()).permute(1, 2, 0).squeeze(-1)  # (H, W, C) or (H, W)
    file = io.BytesIO()
    # Of the levels 1 is the fastest by far, and a noisy picture hardly shrinks at any.
    Image.fromarray(pixels.contiguous().numpy()).save(file, format="png", compress_level=1)
    return file.getvalue()


def mosaic(images: Tensor, cols: int, *, gap: int = 1) -> Tensor:
    """Pictures in rows with see-through gaps between them.

    Args:
        images: (N, 1 or 3, H, W) floats in [0, 1].
        cols: pictures in a row.
        gap: between two, in pixels of theirs.

    Returns:
        (4, rows * (H + gap) - gap, cols * (W + gap) - gap) in [0, 1], the last one opacity.
    """
    height, width = (size + gap for size in images.shape[-2:])
    rows = -(-len(images) // cols)
    sheet = torch.zeros(4, rows * height - gap, cols * width - gap)
    for i, image in enumerate(images.cpu()):
        top, left = i // cols * height, i % cols * width
        place = sheet[:, top : top + height - gap, left : left + width - gap]
        place[:3], place[3] = image, 1
    return sheet


def still(
    rows: Sequence[Tensor],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    line: str,
) -> bytes:
    """One picture of a table of pictures, with its names and a line of text under it.

    Args:
        rows: of each row its pictures, (columns, 1 or 3, H, W) floats in [0, 1].
        row_names: of each row; empty for none.
        column_names: of each column.
        line: what to say below; it is wrapped.

    Returns:
        the bytes of a PNG file.
    """
    columns, side = len(column_names), rows[0].shape[-1]
    zoom = max(1, min(6, 720 // (columns * side)))
    cell, left = side * zoom + 4, 80 if any(row_names) else 0
    small, text = _font(13), _font(15)
    width = max(left + cell * columns, 560)
    lines = textwrap.wrap(line, width // 8)
    top = 22
    height = top + cell * len(rows) + 12 + 22 * len(lines)
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for j, name in enumerate(column_names):
        draw.text((MARGIN + left + j * cell + cell / 2, MARGIN), name, INK, small, anchor="ma")
    for i, row in enumerate(rows):
        y = MARGIN + top + i * cell
        if left:
            draw.text((MARGIN + left - 8, y + cell / 2), row_names[i], INK, small, anchor="rm")
        for j, image in enumerate(row):
            colours = image.expand(3, -1, -1).permute(1, 2, 0)
            one = Image.fromarray(to_uint8(colours.cpu()).contiguous().numpy())
            one = one.resize((side * zoom, side * zoom), Image.Resampling.NEAREST)
            sheet.paste(one, (MARGIN + left + j * cell + 2, y))
    for i, words in enumerate(lines):
        draw.text((MARGIN, MARGIN + top + cell * len(rows) + 12 + 22 * i), words, INK, text)
    file = io.BytesIO()
    sheet.save(file, format="png")
    return file.getvalue()


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    # PIL has no font of its own before version 10.1; matplotlib always has this one.
    path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size)
