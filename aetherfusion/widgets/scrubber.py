"""`DenoisingScrubber`: follow one image out of the noise, step by step.

No lesson builds this; lesson 06 builds a small one by hand.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..data import to_unit
from ..generation import generate_images
from ..sampling import SamplerStep
from .images import html_image, preview
from .panel import Panel, line, ui


class DenoisingScrubber(Panel):
    """One image at every step: the noisy image, and the network's estimate of the clean one.

    >>> DenoisingScrubber(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        trajectory: a (t, xt, x0_hat) for each step so far, images (channels, H, W) in [0, 1]; the
            last one, at t = 0, is the finished image twice.
    """

    arguments = ("labels", "guidance_scale", "steps", "seed")

    def prepare(self) -> None:
        """Makes the first image."""
        self.trajectory: list[tuple[float, Tensor, Tensor]] = []
        self._record({"labels": self.first_class}, lambda step: None)

    def layout(self) -> list[Any]:
        """The settings on the left; on the right two images above a strip of all steps."""
        self.noisy, self.estimate = ui.HTML(), ui.HTML()
        film, self.play = self.film_strip(), ui.Play(value=0, min=0, interval=350)
        self.step.observe(lambda _: self._show(), names="index")
        # In the browser, so that Play goes on however slowly the kernel answers.
        ui.jslink((self.play, "value"), (self.step, "index"))
        self._fill(0)
        left = self.sidebar("From noise to image", self.progress, self.status)
        images = self.pair(
            ("the noisy image (xt)", self.noisy),
            ("its estimate of the clean image (x0_hat)", self.estimate),
        )
        return [self.columns(left, images, film, ui.HBox([self.play, self.caption]))]

    def work(self, settings: dict[str, Any]) -> None:
        """Generates another image and shows each step of it."""
        self.log(f"Generating: {settings['labels']}.")

        def show_step(step: SamplerStep) -> None:
            if self.advance():
                self._draw(step.index)

        try:
            self._record(settings, show_step)
        finally:  # a run that was stopped has steps too
            self._fill(len(self.trajectory) - 1)
        self.log("Done. Click a step of the strip, or press Play.")

    def _fill(self, chosen: int) -> None:
        self.fill_film_strip(chosen)
        self.play.max = len(self.trajectory) - 1
        self._draw(self.step.index)

    def _record(self, settings: dict[str, Any], callback: Callable[[SamplerStep], None]) -> None:
        trajectory: list[tuple[float, Tensor, Tensor]] = []

        def record(step: SamplerStep) -> None:
            self.trajectory = trajectory  # no sooner: a run that fails at once keeps the last one
            xt, x0_hat = to_unit(step.xt[0]).cpu(), to_unit(step.x0_hat[0]).cpu()
            trajectory.append((float(step.t), xt, x0_hat))
            callback(step)

        (image,) = generate_images(self.model, 1, **settings, callback=record)
        trajectory.append((0.0, image, image))

    def _show(self) -> None:
        if self.step.index is not None and not self.running:
            self._draw(self.step.index)

    def _draw(self, i: int) -> None:
        t, xt, x0_hat = self.trajectory[i]
        where = f"step {i} · t = {t:.2f}"
        self.noisy.value = html_image(xt, f"the noisy image, {where}")
        self.estimate.value = html_image(x0_hat, f"the estimate of the clean image, {where}")
        self.caption.value = line(where + (", the finished image" if t == 0 else ""))

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: eight of the steps, with `text` below."""
        picked = torch.linspace(0, len(self.trajectory) - 1, 8).round().int().unique().tolist()
        times, *rows = zip(*(self.trajectory[i] for i in picked), strict=True)
        images = [torch.stack(images) for images in rows]
        return preview(images, [f"t = {t:.2f}" for t in times], ("noisy", "estimate"), text)
