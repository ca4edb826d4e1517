"""`GuidanceExplorer`: the same noise, every class, more and more guidance.

No lesson builds this; it goes with lesson 06.
"""

import html
from typing import Any

import torch
from torch import Tensor

from ..data import to_unit
from ..generation import generate_images
from ..sampling import Denoiser, SamplerStep, dpmpp_2m
from .images import html_image, image_grid, preview
from .panel import LIMITS, Panel, line, number, ui, within

MAX_CLASSES = 12
CELL = 84  # pixels on the page, for one image


class GuidanceExplorer(Panel):
    """Every class from the same noise at several guidance scales: what does guidance change?

    >>> GuidanceExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        scales: the guidance scale of each row.
        rows: the images of each row, (classes, channels, H, W) in [0, 1].
    """

    arguments = ("steps", "seed")
    calls = 4

    def prepare(self) -> None:
        """Makes the first rows: quickly, so in few steps."""
        self.names = self.names[:MAX_CLASSES]
        self.scales = [1.0, 3.0, 5.0, 7.0]
        self.rows = [self._row(scale, steps=8) for scale in self.scales]

    def layout(self) -> list[Any]:
        """The settings, and below them a table of images."""
        ends, (low, high) = (self.scales[0], self.scales[-1]), LIMITS["guidance_scale"]
        self.lowest = number("Scale from", ends[0], low, high)
        self.highest = number("to", ends[1], low, high)
        self.controls["steps"].value = 8
        self.image, self.side = ui.HTML(), ui.HTML()
        names = "".join(f"<div>{html.escape(name)}</div>" for name in self.names)
        head = ui.HTML(f'<div class="aether-names">{names}</div>')
        self.image.layout.width = head.layout.width = f"{CELL * len(self.names)}px"
        self._show()
        left = ui.VBox([self.lowest, self.highest, self.controls["steps"]]).add_class("aether-left")
        return [
            ui.HTML(line("The same noise, every class, more and more guidance", "heading")),
            self.columns(left, self.seed_row, self.buttons),
            ui.HBox([self.side, ui.VBox([head, self.image])]),
            self.progress,
            self.status,
        ]

    def settings(self) -> dict[str, Any]:
        """What the controls ask for: steps, seed and the guidance scale of each row."""
        ends = self.lowest.value, self.highest.value
        low, high = (within("guidance_scale", end) for end in ends)
        return {**super().settings(), "scales": torch.linspace(low, high, self.calls).tolist()}

    def work(self, settings: dict[str, Any]) -> None:
        """Makes the table again, row by row."""
        self.scales = settings.pop("scales")
        self.rows = [torch.ones_like(row) for row in self.rows]
        self.log(f"Generating {len(self.scales)} rows.")
        for i, scale in enumerate(self.scales):

            def show_step(step: SamplerStep, i: int = i) -> None:
                if self.advance():
                    self.rows[i] = to_unit(step.xt).cpu()
                    self._show()

            self.rows[i] = self._row(scale, **settings, callback=show_step)
            self._show()
        used = f"Seed {settings['seed']}, {settings['steps']} steps, guided at all times."
        self.log(f"{used} A guidance scale of 1 means no guidance.")

    def _row(self, scale: float, **options: Any) -> Tensor:
        """(classes, channels, H, W), one image of each class, all from the same noise."""

        def from_one_noise(denoise: Denoiser, x: Tensor, times: Tensor, **others: Any) -> Tensor:
            return dpmpp_2m(denoise, x[:1].expand_as(x), times, **others)

        options |= {"sampler": from_one_noise, "guidance_interval": (0.0, 1.0)}
        return generate_images(self.model, len(self.names), guidance_scale=scale, **options)

    def _show(self) -> None:
        alt = "a row of images for each guidance scale, a column for each class"
        self.image.value = html_image(image_grid(torch.cat(self.rows), len(self.names)), alt)
        scales = "".join(f"<div>{scale:.3g}</div>" for scale in self.scales)
        self.side.value = f'{line("scale")}<div class="aether-scales">{scales}</div>'

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: the table, with `text` below."""
        return preview(self.rows, self.names, [f"scale {scale:.3g}" for scale in self.scales], text)
