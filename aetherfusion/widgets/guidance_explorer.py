"""The same noise, every class, more and more guidance.

Owns: `GuidanceExplorer`. Used beside lesson 06.
"""

import html
from typing import Any

import torch
from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images
from ..sampling import Denoiser, SamplerStep
from .panel import DEFAULTS, Panel
from .stills import mosaic, png, still


class GuidanceExplorer(Panel):
    """Every class from the same noise, at several guidance scales: what does guidance do?

    >>> GuidanceExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        rows: of each scale, in their order, images (classes, channels, H, W) in [0, 1].
    """

    ROWS = 4
    MOST_CLASSES = 12
    CELL = 84  # pixels on the page

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.names = self.names[: self.MOST_CLASSES]
        self.scales = self._spaced(1.0, 7.0)
        # The first sheet is made before anything shows: quickly, so in fewer steps.
        self.rows = [self._row(scale, {"steps": 8}) for scale in self.scales]
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        self.range = ui.FloatRangeSlider(
            value=(1.0, 7.0), min=0, max=12, step=0.5, description="Guidance"
        )
        self.steps = self.step_numbers(8)
        self.image = ui.Image(format="png")
        self.side, head = ui.HTML(), ui.HTML()
        self.range.add_class("aether-range")
        self.image.add_class("aether-image")
        self.steps.add_class("aether-steps")
        self.go.on_click(lambda _: self.generate())
        names = "".join(f"<div>{html.escape(name)}</div>" for name in self.names or ("any",))
        head.value = f'<div class="aether-names">{names}</div>'
        width = f"{self.CELL * max(1, len(self.names))}px"
        self.image.layout.width = head.layout.width = width
        sheet = ui.VBox([head, self.image])
        controls = [
            ui.VBox([self.range, self.steps]),
            ui.VBox([self.seeds(), ui.HBox([self.go, self.halt])]),
        ]
        self._show()
        self.build(
            self.title("The same noise, every class, more and more guidance"),
            self.columns(*controls),
            ui.HBox([self.side, sheet]),
            self.bar,
            self.note,
        )

    def generate(self) -> None:
        """Makes the sheet anew, row by row, with what the controls say."""
        scales = self._spaced(*self.range.value)
        options = {"seed": self.seed.value, "steps": self.steps.value}

        def work() -> None:
            self.scales = scales
            shape = (self.model.channels, self.model.image_size, self.model.image_size)
            self.rows = [torch.ones(max(1, len(self.names)), *shape) for _ in self.scales]
            for i, scale in enumerate(self.scales):
                self.say(f"Row {i + 1} of {len(self.scales)}: guidance {scale:g}")
                self.rows[i] = self._row(scale, options, lambda step, i=i: advance(step, i))
                self._show()
            settings = f"Seed {options['seed']}, {options['steps']} steps, guided all the way."
            self.say(f"{settings} Guidance 1 is none.")

        def advance(step: SamplerStep, i: int) -> None:
            if self.step_done():
                self.rows[i] = to_unit(step.xt).cpu()
                self._show()

        self.run(work, steps=options["steps"] * len(scales))

    def _spaced(self, low: float, high: float) -> list[float]:
        return [round(float(x), 2) for x in torch.linspace(low, high, self.ROWS)]

    def _row(self, scale: float, options: dict[str, Any], callback: Any = None) -> Tensor:
        """(classes, channels, H, W): picture i is of class i, and all start at the same noise.

        Guided at all times, unlike the default, so that one sees what guidance does.
        """
        sampler = DEFAULTS["sampler"]

        def from_one_noise(denoise: Denoiser, x: Tensor, times: Tensor, **others: Any) -> Tensor:
            return sampler(denoise, x[:1].expand_as(x), times, **others)

        return generate_images(
            self.model,
            max(1, len(self.names)),
            guidance_scale=scale,
            guidance_interval=(0.0, 1.0),
            sampler=from_one_noise,
            callback=callback,
            **options,
        )

    def _show(self) -> None:
        self.image.value = png(mosaic(torch.cat(self.rows), len(self.rows[0])))
        height = self.CELL * len(self.scales)
        numbers = "".join(f"<div>{scale:g}</div>" for scale in self.scales)
        self.side.value = (
            '<div class="aether-names" style="height:26px">scale</div>'
            f'<div class="aether-scales" style="height:{height}px">{numbers}</div>'
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: the sheet, with `line` below."""
        names = [f"guidance {scale:g}" for scale in self.scales]
        return still(self.rows, row_names=names, column_names=self.names or ("any",), line=line)
