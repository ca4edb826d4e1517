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
from .images import encode_png, preview
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
        """The settings on the left; on the right two images and a slider over the steps."""
        last = len(self.trajectory) - 1
        self.step = ui.IntSlider(value=0, min=0, max=last, description="Step")
        self.step.observe(lambda _: self._show(), names="value")
        self.play = ui.Play(value=0, min=0, max=last, interval=350)
        # In the browser, so that Play goes on however slowly the kernel answers.
        ui.jslink((self.play, "value"), (self.step, "value"))
        ui.jslink((self.step, "max"), (self.play, "max"))
        self.noisy, self.estimate = ui.Image(format="png"), ui.Image(format="png")
        self._show()
        left = self.sidebar("From noise to image", self.progress, self.status)
        images = self.pair(
            ("the noisy image", self.noisy), ("the estimate of the clean image", self.estimate)
        )
        return [self.columns(left, images, ui.HBox([self.play, self.step]), self.caption)]

    def work(self, settings: dict[str, Any]) -> None:
        """Generates another image; the slider follows."""
        self.step.value, self.step.max = 0, settings["steps"]
        self.log(f"Generating: {settings['labels']}.")

        def show_step(step: SamplerStep) -> None:
            if self.advance():
                self.step.value = step.index
                self._show()

        self._record(settings, show_step)
        self.step.value = len(self.trajectory) - 1
        self._show()
        self.log("Done. Move the slider or press Play.")

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
        # The slider may be ahead of a run that is under way, or was stopped.
        i = max(0, min(self.step.value, len(self.trajectory) - 1))
        t, xt, x0_hat = self.trajectory[i]
        self.noisy.value, self.estimate.value = encode_png(xt), encode_png(x0_hat)
        end = ", the finished image" if t == 0 else ""
        self.caption.value = line(f"step {i} · t = {t:.2f}{end}")

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: eight of the steps, with `text` below."""
        picked = torch.linspace(0, len(self.trajectory) - 1, 8).round().int().unique().tolist()
        times, *rows = zip(*(self.trajectory[i] for i in picked), strict=True)
        images = [torch.stack(images) for images in rows]
        return preview(images, [f"t = {t:.2f}" for t in times], ("noisy", "estimate"), text)
