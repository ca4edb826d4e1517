"""`AttentionExplorer`: which parts of an image attend to which while it is being generated.

No lesson builds this; it goes with lesson 02, which builds the attention maps.
"""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images, label_numbers
from ..sampling import SamplerStep
from .images import html_image, preview
from .panel import Panel, line, ui

ORANGE = (1.0, 0.45, 0.0)


class AttentionExplorer(Panel):
    """Click a cell of a noisy image and see which cells a head attends to from there.

    The transformer blocks have one token for every cell of 4x4 pixels. Blocks, heads and cells
    count from 0, as they do in lesson 02.

    >>> AttentionExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        trajectory: a (t, xt, x0_hat, maps) for each step, images (channels, H, W) in [0, 1] and
            maps (blocks, heads, N, N): how much cell i attends to cell j, where rows sum to 1.
    """

    def prepare(self) -> None:
        """Makes the first image and its attention maps."""
        self.side = self.model.image_size // 4  # cells in a row
        self._record({"labels": self.first_class}, lambda step: None)

    def layout(self) -> list[Any]:
        """The settings on the left; on the right the noisy image and what a cell attends to."""
        steps, (blocks, heads) = len(self.trajectory), self.trajectory[0][-1].shape[:2]
        places, middle = itertools.product(range(self.side), repeat=2), self.side // 2
        cells = [(f"row {row}, column {column}", i) for i, (row, column) in enumerate(places)]
        chosen = middle * self.side + middle
        self.cell = ui.RadioButtons(options=cells, value=chosen, description="Cell")
        numbers = [(str(i), i) for i in range(max(blocks, heads))]
        options = {"options": numbers[:blocks], "value": min(1, blocks - 1)}  # heads look sideways
        self.block = ui.RadioButtons(**options, description="Block")
        self.head = ui.RadioButtons(options=[("mean", -1), *numbers[:heads]], description="Head")
        self.noisy, self.attended, film = ui.HTML(), ui.HTML(), self.film_strip()
        # Two thirds of the way the image can be seen, and the network still works on it.
        self.fill_film_strip(2 * steps // 3)
        for choice in (self.block, self.head, self.step, self.cell):
            choice.observe(lambda _: self._show(), names="index")
        self._show()
        left = self.sidebar("What does a cell attend to?", self.block, self.head)
        images = self.pair(
            ("the noisy image: click a cell", self.sheet(self.noisy, self.cell, self.side)),
            ("what this cell attends to", self.attended),
        )
        return [self.columns(left, images, film, self.caption, self.progress, self.status)]

    def work(self, settings: dict[str, Any]) -> None:
        """Generates another image and computes the attention maps of every step."""
        self.log(f"Generating: {settings['labels']}.")
        self._record(settings, lambda step: self.advance())
        self.fill_film_strip(self.step.index)
        self._show()
        self.log("Done. Click a cell of the image.")

    def _record(self, settings: dict[str, Any], callback: Callable[[SamplerStep], object]) -> None:
        steps: list[SamplerStep] = []

        def record(step: SamplerStep) -> None:
            steps.append(step)
            callback(step)

        generate_images(self.model, 1, **settings, callback=record)
        xt, x0_hat = (torch.cat([getattr(s, name) for s in steps]) for name in ("xt", "x0_hat"))
        t = torch.stack([step.t for step in steps]).to(xt)
        labels = label_numbers(self.model, settings["labels"], len(steps)).to(xt.device)
        maps = attention_maps(self.model, xt, t, labels).cpu()
        images = to_unit(xt).cpu(), to_unit(x0_hat).cpu()
        self.trajectory = list(zip(t.tolist(), *images, maps.transpose(0, 1), strict=True))

    def _show(self) -> None:
        t, xt, x0_hat, maps = self.trajectory[self.step.index]
        row, column = divmod(self.cell.index, self.side)
        weights = maps[self.block.index, :, self.cell.index]  # (heads, N)
        weights = weights.mean(0) if self.head.value < 0 else weights[self.head.value]  # (N,)
        top = divmod(int(weights.argmax()), self.side)
        words = (
            f"Row {row}, column {column} attends most to row {top[0]}, column {top[1]}, with a "
            f"weight of {weights.max():.0%}. Equal weights would be {1 / self.side**2:.1%}."
        )
        self.noisy.value = html_image(draw(xt, row, column), f"the noisy image at t = {t:.2f}")
        self.attended.value = html_image(draw(x0_hat, row, column, weights), words)
        self.caption.value = line(f"t = {t:.2f}. {words}")

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: what the heads of block 1 attend to, with `text` below."""
        _, xt, x0_hat, maps = self.trajectory[len(self.trajectory) // 2]
        middle = self.side // 2
        heads = maps[min(1, len(maps) - 1), :, middle * self.side + middle]  # (heads, N)
        images = [draw(x0_hat, middle, middle, weights, zoom=4) for weights in heads]
        row = torch.stack([draw(xt, middle, middle, zoom=4), *images])
        return preview([row], ["noisy", *(f"head {i}" for i in range(len(heads)))], (), text)


def attention_maps(model: Any, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The attention maps of all transformer blocks, (blocks, B, heads, N, N), rows sum to 1.

    The arguments are those of the model's `forward`; B is their batch size.
    """
    inputs: dict[nn.Module, tuple[Tensor, ...]] = {}
    thread = threading.get_ident()

    def keep(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if threading.get_ident() == thread:  # another widget may use the model meanwhile
            inputs[block] = arguments

    hooks = [block.register_forward_pre_hook(keep) for block in model.unet.blocks]
    try:
        with torch.no_grad():
            model(xt, t, labels)
            return torch.stack([b.attention_maps(*inputs[b]) for b in model.unet.blocks])
    finally:
        for hook in hooks:
            hook.remove()


def draw(
    image: Tensor, row: int, column: int, weights: Tensor | None = None, *, zoom: int = 8
) -> Tensor:
    """(1 or 3, H, W) to (3, zoom H, zoom W): enlarged, with a frame around a cell.

    With `weights` (N,), one for each cell, the image is lit where they are high.
    """
    large = image.expand(3, -1, -1).repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    size = 4 * zoom
    if weights is not None:
        # The square root makes low weights visible: on a projector they would be black.
        light = (weights / weights.max()).sqrt().view(large.shape[1] // size, -1)
        light = light.repeat_interleave(size, 0).repeat_interleave(size, 1)
        large = large * (0.15 + 0.85 * light)
    frame = torch.zeros(large.shape[1:], dtype=torch.bool)
    top, left = row * size, column * size
    frame[top : top + size, left : left + size] = True
    frame[top + 3 : top + size - 3, left + 3 : left + size - 3] = False
    return torch.where(frame, torch.tensor(ORANGE)[:, None, None], large)
