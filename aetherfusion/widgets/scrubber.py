"""One picture on its way, step by step.

Owns: `DenoisingScrubber`. Lesson 06 builds a small one by hand.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images
from ..sampling import SamplerStep
from .panel import SIDE, Panel
from .stills import png, still


class DenoisingScrubber(Panel):
    """One picture on its way: what the network sees beside what it takes that for, step by step.

    >>> DenoisingScrubber(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        way: what was seen so far, a (t, xt, x0_hat) for each step, images (channels, H, W) in
            [0, 1]; the last one, at t = 0, is the finished picture twice.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.way: list[tuple[float, Tensor, Tensor]] = []
        self._walk({"labels": self.first_class}, lambda step: None)
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        self.choice, self.steps = self.classes(), self.step_numbers()
        self.guidance = self.guidances()
        self.step = ui.IntSlider(value=0, min=0, max=len(self.way) - 1, description="Step")
        self.play = ui.Play(value=0, min=0, max=len(self.way) - 1, interval=350)
        # In the browser: the button runs on however slowly the kernel answers.
        self._links = [
            ui.jslink((self.play, "value"), (self.step, "value")),
            ui.jslink((self.step, "max"), (self.play, "max")),
        ]
        self.seen, self.guess = (ui.Image(format="png", layout={"width": SIDE}) for _ in "ab")
        self.where = ui.HTML()
        for name in ("choice", "guidance", "steps", "step", "play", "seen", "guess", "where"):
            getattr(self, name).add_class(f"aether-{name}")
        self.step.observe(lambda _: self._show(), names="value")
        self.go.on_click(lambda _: self.generate())
        left = ui.VBox(
            [
                self.title("From noise to picture"),
                self.choice,
                self.guidance,
                self.steps,
                self.seeds(),
                ui.HBox([self.go, self.halt]),
                self.bar,
                self.note,
            ]
        )
        pair = [
            ui.VBox([self.caption("what the network sees"), self.seen]),
            ui.VBox([self.caption("what it takes that for"), self.guess]),
        ]
        right = ui.VBox([self.pair(*pair), ui.HBox([self.play, self.step]), self.where])
        self._show()
        self.build(self.columns(left, right))

    def generate(self) -> None:
        """Walks anew with what the controls say; the slider comes along."""
        wanted = {
            "labels": self.choice.value,
            "seed": self.seed.value,
            "steps": self.steps.value,
            "guidance_scale": self.guidance.value,
        }

        def along(step: SamplerStep) -> None:
            if self.step_done():
                self.step.value = step.index
                self._show()

        def work() -> None:
            self.step.value, self.step.max = 0, wanted["steps"]
            self.say(f"On the way to {wanted['labels'] or 'a picture'}.")
            self._walk(wanted, along)
            self.step.value = len(self.way) - 1
            self._show()
            self.say("Done. Pull the slider or press play.")

        self.run(work, steps=wanted["steps"])

    def _walk(self, wanted: dict[str, Any], along: Callable[[SamplerStep], object]) -> None:
        way: list[tuple[float, Tensor, Tensor]] = []

        def keep(step: SamplerStep) -> None:
            self.way = way  # no sooner: a walk that fails at once leaves the last one
            way.append((float(step.t), to_unit(step.xt[0]).cpu(), to_unit(step.x0_hat[0]).cpu()))
            along(step)

        (image,) = generate_images(self.model, 1, **wanted, callback=keep)
        way.append((0.0, image, image))

    def _show(self) -> None:
        # The slider may be ahead of a walk that is under way, or was stopped.
        i = min(self.step.value, len(self.way) - 1)
        if i < 0:
            return
        t, seen, guess = self.way[i]
        self.seen.value, self.guess.value = png(seen), png(guess)
        end = " · the finished picture" if t == 0 else ""
        self.where.value = (
            f'<div class="aether-note">step {i} · t = {t:.2f}, which is {t:.0%} noise{end}</div>'
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: eight steps of the way, with `line` below."""
        n = min(8, len(self.way))
        picked = [self.way[round(i * (len(self.way) - 1) / max(1, n - 1))] for i in range(n)]
        return still(
            [torch.stack([seen for _, seen, _ in picked]), torch.stack([g for *_, g in picked])],
            row_names=("sees", "guesses"),
            column_names=[f"t = {t:.2f}" for t, *_ in picked],
            line=line,
        )
