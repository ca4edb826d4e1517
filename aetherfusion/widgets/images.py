"""Images as PNG files: `html_image` and `image_grid` for a live page, `preview` without a kernel.

No lesson builds this; the widgets use it.
"""

import base64
import html
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data import to_uint8

INK = "#1f2937"


def encode_png(image: Tensor) -> bytes:
    """(1, 3 or 4, H, W) floats in [0, 1] to the bytes of a PNG file; the fourth is opacity."""
    return _bytes(_pil(image))


def html_image(image: Tensor, alt: str) -> str:
    """An image for an HTML page, as `encode_png` takes it; `alt` says what it shows."""
    height, width = image.shape[-2:]  # or the page would jump while the image is decoded
    src = f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"
    size = f'width="{width}" height="{height}" decoding="sync"'
    return f'<img alt="{html.escape(alt)}" {size} src="{src}">'


def html_preview(png: bytes, alt: str) -> tuple[str, bytes]:
    """A PNG file for an HTML page, and with fewer colours for pages without HTML."""
    image, webp, small = Image.open(io.BytesIO(png)), io.BytesIO(), io.BytesIO()
    image.save(webp, format="webp", lossless=True)
    image.quantize(256).save(small, format="png", optimize=True)
    src = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return f'<img alt="{html.escape(alt)}" src="{src}">', small.getvalue()


def image_grid(images: Tensor, cols: int, gap: int = 1) -> Tensor:
    """(N, 1 or 3, H, W) to (4, rows (H + gap) - gap, cols (W + gap) - gap), gaps transparent."""
    n, _, height, width = images.shape
    colors = images.cpu().expand(n, 3, height, width)
    rgba = torch.cat([colors, torch.ones(n, 1, height, width)], 1)
    rgba = F.pad(rgba, (0, gap, 0, gap, 0, 0, 0, -n % cols))  # (rows cols, 4, H + gap, W + gap)
    grid = rgba.unflatten(0, (-1, cols)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return grid[:, : grid.shape[1] - gap, : grid.shape[2] - gap]


def preview(
    rows: Sequence[Tensor], columns: Sequence[str], names: Sequence[str], text: str
) -> bytes:
    """The bytes of a PNG file: rows of images, (columns, 1 or 3, H, W) each, with `text` below.

    `columns` and `names` are the headings of columns and rows; `names` may be empty.
    """
    import matplotlib

    # PIL has no scalable font of its own before version 10.1; matplotlib always has this one.
    font = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    small, large = ImageFont.truetype(font, 12), ImageFont.truetype(font, 15)
    side = rows[0].shape[-1]
    zoom = max(1, min(6, 720 // (len(columns) * side)))
    widest = max(small.getlength(column) for column in columns)
    gap = max(1, 8 // zoom, math.ceil((widest + 10) / zoom) - side)  # no headings touch
    cell, left, top = (side + gap) * zoom, 96 if names else 12, 32
    grid = _pil(image_grid(torch.cat([*rows]), len(columns), gap))
    grid = grid.resize((grid.width * zoom, grid.height * zoom), Image.Resampling.NEAREST)
    width = max(left + grid.width + 12, 584)
    lines = textwrap.wrap(text, width // 8)
    page = Image.new("RGB", (width, top + grid.height + 24 + 22 * len(lines)), "white")
    page.paste(grid, (left, top), grid)  # its gaps are transparent
    draw = ImageDraw.Draw(page)
    for i, column in enumerate(columns):
        draw.text((left + i * cell + side * zoom / 2, 12), column, INK, small, anchor="ma")
    for i, name in enumerate(names):
        draw.text((left - 8, top + i * cell + side * zoom / 2), name, INK, small, anchor="rm")
    for i, line in enumerate(lines):
        draw.text((12, top + grid.height + 12 + 22 * i), line, INK, large)
    return _bytes(page)


def _pil(image: Tensor) -> Image.Image:
    pixels = to_uint8(image.cpu()).permute(1, 2, 0).squeeze(-1)  # (H, W, C) or (H, W)
    return Image.fromarray(pixels.contiguous().numpy())


def _bytes(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="png")
    return file.getvalue()
