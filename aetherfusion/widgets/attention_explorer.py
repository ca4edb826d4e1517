"""`AttentionExplorer`: which parts of an image attend to which while it is being generated.

No lesson builds this; it goes with lesson 02, which builds the attention maps.
"""

import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images, label_numbers
from ..sampling import SamplerStep
from .images import encode_png, preview
from .panel import Panel, button, line, ui

ZOOM = 8
ORANGE = (1.0, 0.45, 0.0)


class AttentionExplorer(Panel):
    """Click a cell of a noisy image and see which cells a head attends to from there.

    The transformer blocks have one token for every cell of 4x4 pixels. The image is covered with
    as many transparent buttons; the sliders for row and column do the same with the keyboard.

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
        middle, last = self.side // 2, self.side - 1
        self.row = ui.IntSlider(value=middle, min=0, max=last, description="Row")
        self.column = ui.IntSlider(value=middle, min=0, max=last, description="Column")
        # Two thirds of the way the image can be seen, and the network still works on it.
        self.step = ui.IntSlider(value=2 * steps // 3, min=0, max=steps - 1, description="Step")
        numbers = [(str(i + 1), i) for i in range(max(blocks, heads))]
        self.block = ui.ToggleButtons(options=numbers[:blocks], description="Block")
        self.head = ui.ToggleButtons(options=[("mean", -1), *numbers[:heads]], description="Head")
        choices = (self.block, self.head, self.step, self.row, self.column)
        for choice in choices:
            choice.observe(lambda _: self._show(), names="value")
        self.noisy, self.attended = ui.Image(format="png"), ui.Image(format="png")
        self._show()
        # The buttons of the image come last, because they are many for the keyboard.
        left = self.sidebar("What does a cell attend to?", *choices)
        images = self.pair(
            ("the noisy image: click a cell", self._clickable(self.noisy)),
            ("what this cell attends to", self.attended),
        )
        return [self.columns(left, images, self.caption, self.progress, self.status)]

    def _clickable(self, image: Any) -> Any:
        """The image under a grid of transparent buttons, because an Image cannot be clicked."""

        def select(row: int, column: int) -> None:
            self.row.value, self.column.value = row, column

        places = itertools.product(range(self.side), repeat=2)
        # The style sheet hides the text; screen readers read it.
        self.cells = ui.Box(
            [button(f"row {r}, column {c}", partial(select, r, c)) for r, c in places]
        )
        tracks = f"repeat({self.side}, 1fr)"
        self.cells.layout.grid_template_columns = self.cells.layout.grid_template_rows = tracks
        return ui.Box([image, self.cells]).add_class("aether-sheet")

    def work(self, settings: dict[str, Any]) -> None:
        """Generates another image and computes the attention maps of every step."""
        self.log(f"Generating: {settings['labels']}.")
        self._record(settings, lambda step: self.advance())
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
        t, xt, x0_hat, maps = self.trajectory[max(0, min(self.step.value, self.step.max))]
        row, column = (max(0, min(x.value, self.side - 1)) for x in (self.row, self.column))
        weights = maps[self.block.value].unflatten(1, (self.side, self.side))[:, row, column]
        weights = weights.mean(0) if self.head.value < 0 else weights[self.head.value]  # (N,)
        self.noisy.value = encode_png(draw(xt, row, column))
        self.attended.value = encode_png(draw(x0_hat, row, column, weights))
        top = divmod(int(weights.argmax()), self.side)
        self.caption.value = line(
            f"t = {t:.2f}. Row {row}, column {column} attends most to row {top[0]}, column "
            f"{top[1]}, with a weight of {weights.max():.0%}. Equal weights would be "
            f"{1 / self.side**2:.1%}."
        )

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: what the first block's heads attend to, with `text` below."""
        _, xt, x0_hat, maps = self.trajectory[len(self.trajectory) // 2]
        middle = self.side // 2
        heads = maps[0, :, middle * self.side + middle]  # (heads, N)
        images = [draw(x0_hat, middle, middle, weights) for weights in heads]
        row = torch.stack([draw(xt, middle, middle), *images])
        return preview([row], ["noisy", *(f"head {i + 1}" for i in range(len(heads)))], (), text)


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


def draw(image: Tensor, row: int, column: int, weights: Tensor | None = None) -> Tensor:
    """(1 or 3, H, W) to (3, ZOOM H, ZOOM W): enlarged, with a frame around a cell.

    With `weights` (N,), one for each cell, the image is lit where they are high.
    """
    large = image.expand(3, -1, -1).repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2)
    size = 4 * ZOOM
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
