"""Which parts of a picture listen to which, while it is being made.

Owns: `AttentionExplorer` and `attention_on_the_way`. Used beside lesson 02.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images, label_numbers
from ..sampling import SamplerStep
from .panel import SIDE, Panel
from .stills import png, still


class AttentionExplorer(Panel):
    """Point at a cell of a picture on its way and see which cells a head listens to from there.

    The transformer blocks see one token for every 4x4 pixels. The picture is covered with as many
    see-through buttons; the sliders for row and column do the same for the keyboard.

    >>> AttentionExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        maps: (blocks, steps, heads, N, N), how much cell i listens to cell j; rows sum to 1.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.side = self.model.image_size // 4  # cells of a row
        self._walk({"labels": self.first_class}, lambda step: None)
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        blocks, steps, heads = self.maps.shape[:3]
        self.choice = self.classes()
        self.row = ui.IntSlider(value=self.side // 2, min=0, max=self.side - 1, description="Row")
        self.column = ui.IntSlider(
            value=self.side // 2, min=0, max=self.side - 1, description="Column"
        )
        # Two thirds of the way: there is something to see, and the network still works on it.
        self.step = ui.IntSlider(value=2 * steps // 3, min=0, max=steps - 1, description="Step")
        self.block = ui.ToggleButtons(
            options=[(str(i + 1), i) for i in range(blocks)], description="Block"
        )
        self.head = ui.ToggleButtons(
            options=[("mean", -1), *((str(i + 1), i) for i in range(heads))], description="Head"
        )
        for chooser in (self.block, self.head):
            chooser.style.button_width, chooser.layout.width = "56px", "440px"
        self.seen, self.heard = (ui.Image(format="png", layout={"width": SIDE}) for _ in "ab")
        self.where = ui.HTML()
        for name in ("choice", "row", "column", "step", "block", "head", "seen", "heard", "where"):
            getattr(self, name).add_class(f"aether-{name}")
        for control in (self.row, self.column, self.step, self.block, self.head):
            control.observe(lambda _: self._show(), names="value")
        self.go.on_click(lambda _: self.generate())
        left = ui.VBox(
            [
                self.title("What does a cell listen to?"),
                # Before the grid: who comes with the keyboard need not pass its many cells.
                self.choice,
                self.seeds(),
                ui.HBox([self.go, self.halt]),
                self.block,
                self.head,
                self.step,
                self.row,
                self.column,
            ]
        )
        pair = [
            ui.VBox([self.caption("what the network sees: click a cell"), self._covered(ui)]),
            ui.VBox([self.caption("what that cell listens to"), self.heard]),
        ]
        self._show()
        right = ui.VBox([self.pair(*pair), self.where, self.bar, self.note])
        self.build(self.columns(left, right))

    def _covered(self, ui: Any) -> Any:
        """The picture under a grid of see-through buttons, as an Image cannot be clicked."""
        places = list(itertools.product(range(self.side), repeat=2))
        # The words are for those who hear the page; the style hides them.
        self.cells = [ui.Button(description=f"row {r}, column {c}") for r, c in places]
        for cell, place in zip(self.cells, places, strict=True):
            cell.on_click(lambda _, place=place: self.point_at(*place))
        grid = ui.Box(self.cells)
        grid.add_class("aether-cells")
        grid.layout.grid_template_columns = grid.layout.grid_template_rows = (
            f"repeat({self.side}, 1fr)"
        )
        sheet = ui.Box([self.seen, grid], layout={"width": SIDE, "height": SIDE})
        sheet.add_class("aether-sheet")
        return sheet

    def point_at(self, row: int, column: int) -> None:
        """Asks for the cell in this row and column, from 0, at the top left."""
        self.row.value, self.column.value = row, column

    def generate(self) -> None:
        """Makes another picture and looks at every step of it."""
        wanted = {"labels": self.choice.value, "seed": self.seed.value}

        def work() -> None:
            self.say(f"On the way to {wanted['labels'] or 'a picture'}.")
            self._walk(wanted, lambda step: self.step_done())
            self._show()
            self.say("Done: click a cell of it.")

        self.run(work, steps=self.step.max + 1)

    def _walk(self, wanted: dict[str, Any], along: Callable[[SamplerStep], object]) -> None:
        kept: list[SamplerStep] = []

        def keep(step: SamplerStep) -> None:
            kept.append(step)
            along(step)

        generate_images(self.model, 1, **wanted, callback=keep)
        xt, x0_hat = (torch.cat([getattr(s, name) for s in kept]) for name in ("xt", "x0_hat"))
        t = torch.stack([step.t for step in kept])
        labels = label_numbers(self.model, wanted["labels"], 1).to(xt.device)
        maps = attention_on_the_way(self.model, xt, t.to(xt), labels.expand(len(xt)))
        # All at once: who draws at this moment sees the old picture or the new one.
        self._seen = to_unit(xt).cpu(), to_unit(x0_hat).cpu(), t.tolist(), maps.cpu()
        self.maps = self._seen[-1]

    def _show(self) -> None:
        xt, x0_hat, times, maps = self._seen
        step, cell = min(self.step.value, len(times) - 1), (self.row.value, self.column.value)
        weights = _one_map(maps[self.block.value, step], self.head.value, cell)
        self.seen.value = png(_framed(_enlarged(xt[step]), cell, self.side))
        self.heard.value = png(_framed(_lit(x0_hat[step], weights), cell, self.side))
        top, most = int(weights.argmax()), float(weights.max())
        self.where.value = (
            f'<div class="aether-note">t = {times[step]:.2f}. Row {cell[0]}, column {cell[1]} '
            f"listens most to row {top // self.side}, column {top % self.side}: {most:.0%} of its "
            f"attention. Shared evenly, each cell would get {1 / self.side**2:.1%}.</div>"
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: what the first block's heads listen to, with `line` below."""
        xt, x0_hat, _, maps = self._seen
        step, cell = len(xt) // 2, (self.side // 2, self.side // 2)
        heads = range(maps.shape[2])
        lit = [_lit(x0_hat[step], _one_map(maps[0, step], head, cell)) for head in heads]
        pictures = [_enlarged(xt[step]), *lit]
        return still(
            [torch.stack([_framed(picture, cell, self.side) for picture in pictures])],
            row_names=("",),
            column_names=["sees", *(f"head {i + 1}" for i in heads)],
            line=line,
        )


def attention_on_the_way(model: Any, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """What every transformer block of a model listens to in noisy images.

    Args:
        model: a `DiffusionTransformerUNet`.
        xt: (B, channels, H, W) in [-1, 1] and beyond.
        t: (B,) times in [0, 1].
        labels: (B,) integers.

    Returns:
        (blocks, B, heads, N, N), with N tokens, row by row; the last axis sums to 1.
    """
    blocks, me = list(model.unet.blocks), threading.get_ident()
    inputs: dict[int, Sequence[Tensor]] = {}

    def keeper(i: int) -> Any:
        def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if threading.get_ident() == me:  # another widget may use the same model meanwhile
                inputs[i] = arguments

        return keep

    hooks = [block.register_forward_pre_hook(keeper(i)) for i, block in enumerate(blocks)]
    try:
        with torch.inference_mode():
            model(xt, t, labels)
            return torch.stack([b.attention_maps(*inputs[i]) for i, b in enumerate(blocks)])
    finally:
        for hook in hooks:
            hook.remove()


def _one_map(maps: Tensor, head: int, cell: tuple[int, int]) -> Tensor:
    """(heads, N, N) to (N,): what the cell listens to by one head, or the mean of all for -1."""
    side = int(maps.shape[-1] ** 0.5)
    rows = maps[:, cell[0] * side + cell[1]]  # (heads, N)
    return rows.mean(0) if head < 0 else rows[head]


def _enlarged(image: Tensor, zoom: int = 8) -> Tensor:
    """(C, H, W) to (3, zoom H, zoom W), pixel by pixel."""
    return image.expand(3, -1, -1).repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def _lit(image: Tensor, weights: Tensor) -> Tensor:
    """The picture in the dark, lit where the weights (N,) are high; enlarged."""
    side = int(len(weights) ** 0.5)
    # The square root lifts what is faint: on a projector the rest would be black.
    light = (weights / weights.max()).sqrt().view(1, 1, side, side)
    large = _enlarged(image)
    light = F.interpolate(light, large.shape[-2:], mode="nearest")[0]  # (1, H, W)
    return large * (0.15 + 0.85 * light)


def _framed(large: Tensor, cell: tuple[int, int], side: int, thick: int = 3) -> Tensor:
    """Draws an orange frame around a cell of an enlarged picture."""
    large, size = large.clone(), large.shape[-1] // side
    (top, left), colour = (i * size for i in cell), torch.tensor([1.0, 0.45, 0.0])
    frame = large[:, top : top + size, left : left + size]
    inside = frame[:, thick:-thick, thick:-thick].clone()
    frame[:] = colour[:, None, None]
    frame[:, thick:-thick, thick:-thick] = inside
    return large
