"""`ClassPicker`: pick a class and watch images of it come out of the noise.

No lesson builds this; lesson 06 builds a small one by hand.
"""

import itertools
import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images, starting_noise
from ..plots import save_images
from ..sampling import SamplerStep
from ..utils.files import file_stem
from .images import html_image, image_grid, preview
from .panel import SAMPLERS, Panel, button, format_error, ui

MAX_CARDS = 20  # more classes than these are chosen from a list, without images
MAX_WIDTH = 900  # of all images on the page, in pixels: there is room for four rows of five


class ClassPicker(Panel):
    """Pick a class and watch images of it come out of the noise.

    >>> ClassPicker(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.
        folder: where "Save as PNG" writes.

    Attributes:
        images: (N, channels, H, W) in [0, 1], the result of the last run; None before the first
            run, during a run and after a stop.
    """

    arguments = ("labels", "num_samples", "guidance_scale", "steps", "sampler", "seed")

    def __init__(self, model: nn.Module | None = None, *, folder: str | Path = ".") -> None:
        self.folder = Path(folder)
        self.images: Tensor | None = None
        self._used: dict[str, Any] = {}  # the settings of the images
        super().__init__(model)

    def prepare(self) -> None:
        """Makes one image of every class: quickly, so in few steps, with strong guidance."""
        self.class_images = generate_images(
            self.model,
            min(len(self.names), MAX_CARDS),
            seed=12,
            steps=8,
            guidance_scale=4.0,
            guidance_interval=(0.0, 1.0),
        )

    def layout(self) -> list[Any]:
        """The settings on the left, the images on the right, the call in Python below."""
        choice = self.controls["labels"]
        self.save_button = button("Save as PNG", self.save_png, disabled=True)
        self.code = ui.Text(description="In code")
        self.image = ui.HTML(layout={"width": "100%"})
        for control in self.controls.values():
            control.observe(lambda _: self._show_code(), names="value")
        self._show_code()
        self._show_noise(self.settings())
        self.log("This is noise. Pick a class and press Generate.")
        if len(self.names) <= MAX_CARDS:
            pictures = [html_image(x, "") for x in self.class_images]  # the names are below them
            cards = ui.HTML(f'<div class="aether-pictures">{"".join(pictures)}</div>')
            choice = self.sheet(cards, choice, 5).add_class("aether-cards")
        left = self.sidebar("Pick a class", labels=choice)
        right = (self.image, self.progress, self.status, self.save_button)
        return [self.columns(left, *right), self.code]

    def _control(self, name: str) -> Any:
        if name == "labels" and len(self.names) <= MAX_CARDS:
            value = self.first_class
            return ui.RadioButtons(options=self.names, value=value, description="Class")
        return super()._control(name)

    def _show_code(self) -> None:
        try:
            settings = self.settings()
        except ValueError as error:
            self.code.value = format_error(error)
            return
        code = f"generate_images(model, {settings.pop('num_samples')}"
        for name, value in settings.items():
            code += f", {name}={json.dumps(value, ensure_ascii=False)}"
        self.code.value = f"{code})"

    def work(self, settings: dict[str, Any]) -> None:
        """Generates what was asked for; the images get clearer step by step."""
        start = time.monotonic()
        summary = f"{settings['num_samples']} of class {settings['labels']}"
        self.images, self.save_button.disabled = None, True
        self._show_noise(settings)
        self.log(f"Generating: {summary}.")

        def show_step(step: SamplerStep) -> None:
            if self.advance():
                self._show(to_unit(step.xt), "noise that turns into images")

        images = generate_images(self.model, **settings, callback=show_step)
        self._show(images, f"generated images, {summary}")
        sampler = next(title for title, name in SAMPLERS.items() if name == settings["sampler"])
        self.log(
            f"{summary} · seed {settings['seed']} · guidance {settings['guidance_scale']:g} · "
            f"{settings['steps']} steps of {sampler} · {time.monotonic() - start:.1f} s"
        )
        self.images, self._used = images, settings
        self.save_button.disabled = False

    def _show_noise(self, settings: dict[str, Any]) -> None:
        noise = starting_noise(self.model, range(settings["num_samples"]), settings["seed"])
        self._show(to_unit(noise), "noise")

    def _show(self, images: Tensor, alt: str) -> None:
        cols = num_columns(len(images))
        self.image.layout.max_width = f"{min(MAX_WIDTH, 300 * cols)}px"
        self.image.value = html_image(image_grid(images, cols), alt)

    def save_png(self) -> None:
        """Writes the images to a new file in the folder and says where it is."""
        images = self.images
        if images is None:  # a click that was on its way
            self.log("There is nothing to save yet.")
            return
        stem = f"{file_stem(self._used['labels'])}-seed{self._used['seed']}"
        path, numbers = self.folder.resolve() / f"{stem}.png", itertools.count(2)
        try:
            while path.exists():
                path = path.with_name(f"{stem}-{next(numbers)}.png")
            save_images(images, path, cols=num_columns(len(images)))
        except (OSError, ValueError) as error:
            self.log(f"Not saved. {format_error(error)}", error=True)
        else:
            self.log(f"Saved {path}")

    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: one image of every class, with `text` below."""
        return preview([self.class_images], self.names[: len(self.class_images)], (), text)


def num_columns(number: int) -> int:
    """Images in a row: as few rows as fit the page, all of them full where that is possible."""
    if number <= 5:
        return number
    return next((c for c in (5, 4, 3) if number % c == 0 and number <= c * c), 5)
