"""Pick a class and watch pictures of it come out of the noise.

Owns: `ClassPicker`.
"""

import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data import to_unit
from ..generation import generate_images, starting_noise
from ..plots import save_images
from ..sampling import SamplerStep, ddim, dpmpp_2m, heun
from ..utils.files import file_stem
from .panel import DEFAULTS, Panel, in_plain_words
from .stills import mosaic, png, still

SAMPLERS = {"DPM-Solver++ (2M)": dpmpp_2m, "Heun": heun, "DDIM": ddim}
#: More classes than these are chosen from a list, without pictures.
MOST_CARDS = 20
MOST_WIDTH = 900  # of all pictures on the page: there is room for four rows of five


class ClassPicker(Panel):
    """Pick a class and watch pictures of it come out of the noise.

    >>> ClassPicker(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.
        folder: where "Save as PNG" writes.

    Attributes:
        images: (N, channels, H, W) in [0, 1], what is shown; None before the first run.
    """

    def __init__(self, model: nn.Module | None = None, *, folder: str | Path = ".") -> None:
        super().__init__(model)
        self.folder = Path(folder)
        self.images: Tensor | None = None
        self._shown: dict[str, Any] = {}
        # One picture of every class, quickly and plainly: few steps, strong guidance all the way.
        number = min(max(1, len(self.names)), MOST_CARDS)
        self.class_pictures = generate_images(
            self.model,
            number,
            seed=12,
            steps=8,
            guidance_scale=4.0,
            guidance_interval=(0.0, 1.0),
        )
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        few = len(self.names) <= MOST_CARDS
        self.choice: Any = self.classes()
        if few:
            self.choice = _Cards(ui, self.names, self.class_pictures, self.first_class)
        self.number = ui.IntSlider(
            value=DEFAULTS["num_samples"], min=1, max=20, description="Images"
        )
        self.sampler = ui.Dropdown(
            options=[*SAMPLERS.items()], value=DEFAULTS["sampler"], description="Sampler"
        )
        self.guidance, self.steps = self.guidances(), self.step_numbers()
        self.save = ui.Button(description="Save as PNG", disabled=True)
        self.code = ui.Text(description="In code", layout={"width": "auto"})
        self.image = ui.Image(format="png", layout={"width": "100%"})
        for name in ("number", "sampler", "guidance", "steps", "save", "code", "image"):
            getattr(self, name).add_class(f"aether-{name}")
        settings = [self.number, self.guidance, self.steps, self.sampler, self.seed]
        for control in settings:
            control.observe(self._settings_changed, names="value")
        self.choice.observe(self._settings_changed, names="value")
        self.go.on_click(lambda _: self.generate())
        self.save.on_click(lambda _: self.save_png())
        left = ui.VBox(
            [
                self.title("Pick a class"),
                self.choice.box if few else self.choice,
                *settings[:-1],
                self.seeds(),
                ui.HBox([self.go, self.halt]),
            ]
        )
        right = ui.VBox([self.image, self.bar, self.note, self.save])
        self._settings_changed(None)
        self._show_noise()
        self.build(self.columns(left, right), self.code)

    # What is asked for

    def settings(self) -> dict[str, Any]:
        """What the controls say, as arguments of `generate_images`."""
        return {
            "num_samples": self.number.value,
            "labels": self.choice.value,
            "seed": self.seed.value,
            "steps": self.steps.value,
            "guidance_scale": self.guidance.value,
            "sampler": self.sampler.value,
        }

    def _settings_changed(self, _: Any) -> None:
        wanted = self.settings()
        number, sampler = wanted.pop("num_samples"), wanted.pop("sampler")
        options = ", ".join(f"{name}={_quoted(value)}" for name, value in wanted.items())
        self.code.value = f"generate_images(model, {number}, {options}, sampler={sampler.__name__})"

    # What is made

    def generate(self) -> None:
        """Makes what the controls ask for; the picture fills as it goes."""
        wanted = self.settings()

        def work() -> None:
            started = time.monotonic()
            noise = starting_noise(self.model, range(wanted["num_samples"]), wanted["seed"])
            self._show(to_unit(noise), wanted)
            self.save.disabled = True
            self.say(f"{_what(wanted)}: noise, and the first look at it.")
            images = generate_images(
                self.model, **wanted, batch_size=wanted["num_samples"], callback=advance
            )
            self._show(images, wanted)
            seconds = time.monotonic() - started
            self.say(f"{_what(wanted)} · {_how(wanted)} · {seconds:.1f} s")
            self.save.disabled = False

        def advance(step: SamplerStep) -> None:
            if self.step_done():
                self._show(to_unit(step.xt), wanted)
                self.say(f"{_what(wanted)}: step {step.index + 1} of {step.num_steps}")

        self.run(work, steps=wanted["steps"])

    def _show(self, images: Tensor, wanted: dict[str, Any]) -> None:
        cols = _columns(len(images))
        self.images, self._shown = images.cpu(), wanted
        self.image.layout.max_width = f"{min(MOST_WIDTH, 300 * cols)}px"
        self.image.value = png(mosaic(images, cols))

    def _show_noise(self) -> None:
        wanted = self.settings()
        noise = starting_noise(self.model, range(wanted["num_samples"]), wanted["seed"])
        self._show(to_unit(noise), wanted)
        self.images = None
        self.say("Noise. Pick a class and press Generate.")

    def save_png(self) -> None:
        """Writes what is shown to a new file in the folder and says where it is."""
        if self.images is None or self.background.running:
            return
        name = file_stem(self._shown["labels"] or "samples")
        stem, path = f"{name}-seed{self._shown['seed']}", Path()
        try:
            for ending in ("", *(f"-{i}" for i in range(2, 1000))):
                path = self.folder.resolve() / f"{stem}{ending}.png"
                if not path.exists():
                    break
            save_images(self.images, path, cols=_columns(len(self.images)))
        except (OSError, ValueError) as error:
            self.say(f"Not saved. {in_plain_words(error)}", "wrong")
        else:
            self.say(f"Saved {path}")

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: one picture of each class, with `line` below."""
        names = self.names[: len(self.class_pictures)] or ("any",)
        return still([self.class_pictures], row_names=("",), column_names=names, line=line)


class _Cards:
    """A picture and a name for each class, of which one is chosen; used like a Dropdown."""

    def __init__(
        self, ui: Any, names: tuple[str, ...], pictures: Tensor, value: str | None
    ) -> None:
        self.value = value
        self._watchers: list[Any] = []
        self.buttons = {
            name: ui.ToggleButton(value=name == value, description=name) for name in names
        }
        cards = []
        for (name, button), picture in zip(self.buttons.items(), pictures, strict=False):
            button.observe(lambda change, n=name: self._toggled(n, change["new"]), names="value")
            card = ui.VBox([ui.Image(value=png(picture), format="png"), button])
            card.add_class("aether-card")
            cards.append(card)
        self.box = ui.Box(cards)
        self.box.add_class("aether-cards")

    def _toggled(self, name: str, on: bool) -> None:
        if on and name != self.value:
            self.value = name
            for other, button in self.buttons.items():
                button.value = other == name
            for watcher in self._watchers:
                watcher(name)
        elif not on and name == self.value:
            self.buttons[name].value = True  # one is always chosen

    def observe(self, watcher: Any, names: str) -> None:
        """Calls `watcher` after another class was chosen."""
        self._watchers.append(watcher)


def _columns(number: int) -> int:
    """Pictures in a row: as few rows as fit the page, none of them broken where that can be."""
    if number <= 5:
        return number
    return next((c for c in (5, 4, 3) if number % c == 0 and number <= c * c), 5)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _what(wanted: dict[str, Any]) -> str:
    return f"{wanted['num_samples']} of class {wanted['labels'] or 'any'}"


def _how(wanted: dict[str, Any]) -> str:
    sampler = next(name for name, made in SAMPLERS.items() if made is wanted["sampler"])
    return (
        f"seed {wanted['seed']} · guidance {wanted['guidance_scale']:g} · "
        f"{wanted['steps']} steps of {sampler}"
    )
