"""What the four widgets have in common: plain controls, one run at a time, a still for the rest.

Owns: `Panel`. Behind the widgets.
Only controls that ipywidgets 7.7 (Colab) and 8 both have, and no widget manager of another maker.
"""

import base64
import html
import inspect
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..checkpoint import load_pretrained
from ..data import CIFAR10_CLASSES
from ..generation import generate_images
from .background import Background, Stopped
from .looks import STYLE

#: Of `generate_images`: defaults are written once, in its signature.
DEFAULTS = {name: p.default for name, p in inspect.signature(generate_images).parameters.items()}
#: A front end without a kernel cannot show the widget; it shows this picture, which says so.
NOT_RUNNING = "A still picture: run this cell in a live notebook, and the controls appear."
NOT_INSTALLED = (
    "A still picture, as ipywidgets is not installed: python -m pip install ipywidgets, "
    "restart the kernel and run this cell again."
)
LOST = "The kernel behind this has stopped: nothing here answers. Run the cell again, or reload."
FIRST_CLASS = "horse"  # if there is one: most people name it at once
MOST_UPDATES = 25  # pictures a second; more would only fill the line to the browser
SIDE = "304px"  # of a single picture on the page


class Panel(ABC):
    """Controls and pictures around a model; what a cell shows if it ends with one.

    Those who build on it call `build` with their parts and have a method `picture` that draws
    the still for pages without a kernel.

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        box: the widget to place elsewhere; None where ipywidgets is not installed.
        error: what went wrong in the last run, or None.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model: Any = load_pretrained() if model is None else model
        self.names = class_names(self.model)
        self.background = Background()
        self.box: Any = None
        self.error: BaseException | None = None
        self.ui = _ipywidgets()
        self._last_update = 0.0
        if self.ui is None:
            return
        ui = self.ui
        self.go = ui.Button(description="Generate", button_style="primary")
        self.halt = ui.Button(description="Stop", disabled=True)
        self.halt.on_click(lambda _: self.background.stop())
        self.bar = ui.IntProgress(value=0, min=0, max=1, layout={"width": "auto"})
        self.bar.add_class("aether-bar")
        self.note = ui.HTML()
        self.seed = ui.BoundedIntText(value=0, min=0, max=2**32 - 1, description="Seed")
        self.seed.layout.width = "260px"
        self.new_seed = ui.Button(description="New seed", layout={"width": "120px"})
        self.new_seed.on_click(self._draw_seed)
        self.go.add_class("aether-go")
        self.halt.add_class("aether-stop")
        self.note.add_class("aether-status")
        self.seed.add_class("aether-seed")
        self.new_seed.add_class("aether-new-seed")

    def build(self, *parts: Any) -> None:
        """Puts the parts into the box, with the style and the message for a dead kernel."""
        lost = self.ui.HTML(f'<div role="alert">{LOST}</div>')
        lost.add_class("aether-lost")
        style = self.ui.HTML(STYLE)
        self.box = self.ui.VBox([style, lost, *parts])
        self.box.add_class("aether")
        # Where the panel is alive, the still of this same panel is hidden.
        style.value += f"<style>.{self._still_class()} {{ display: none }}</style>"

    def title(self, words: str) -> Any:
        """A heading."""
        return self.ui.HTML(f'<div class="aether-title">{html.escape(words)}</div>')

    def caption(self, words: str) -> Any:
        """A line above a picture."""
        return self.ui.HTML(f'<div class="aether-note">{html.escape(words)}</div>')

    def columns(self, left: Any, right: Any) -> Any:
        """Side by side, or below each other where the page is narrow."""
        left.add_class("aether-left")
        right.add_class("aether-right")
        columns = self.ui.HBox([left, right])
        columns.add_class("aether-columns")
        return columns

    def pair(self, left: Any, right: Any) -> Any:
        """Two pictures side by side."""
        pair = self.ui.HBox([left, right])
        pair.add_class("aether-pair")
        return pair

    def classes(self) -> Any:
        """A list of the classes; its value is a name, or None for a model without classes."""
        options: list[Any] = [*self.names] or [("any", None)]
        return self.ui.Dropdown(options=options, value=self.first_class, description="Class")

    @property
    def first_class(self) -> str | None:
        """What is chosen at first."""
        return FIRST_CLASS if FIRST_CLASS in self.names else next(iter(self.names), None)

    def step_numbers(self, value: int = DEFAULTS["steps"]) -> Any:
        """A slider for the number of steps."""
        return self.ui.IntSlider(value=value, min=1, max=60, description="Steps")

    def guidances(self) -> Any:
        """A slider for the guidance scale."""
        value = DEFAULTS["guidance_scale"]
        return self.ui.FloatSlider(value=value, min=0, max=10, step=0.5, description="Guidance")

    def seeds(self) -> Any:
        """The seed and the button that draws a new one, side by side."""
        return self.ui.HBox([self.seed, self.new_seed])

    def say(self, words: str, kind: str = "note") -> None:
        """Shows one line of text; kind is "note" or "wrong"."""
        self.note.value = (
            f'<div class="aether-{kind}" role="status">{html.escape(" ".join(words.split()))}</div>'
        )

    def run(self, work: Callable[[], None], *, steps: int) -> None:
        """Does `work` while the page stays alive, unless something is being done already.

        Args:
            work: calls `step_done` after each of its steps; shows its own pictures.
            steps: how often it will.
        """
        if self.background.running:
            return
        self.error = None
        self.go.disabled, self.halt.disabled = True, False
        self.bar.max, self.bar.value = steps, 0
        self._last_update = 0.0
        self.background.start(work, self._ended)

    def step_done(self) -> bool:
        """Counts a step and stops if asked to; returns whether it is time to show something."""
        self.background.check()
        self.bar.value += 1
        now = time.monotonic()
        if now - self._last_update < 1 / MOST_UPDATES:
            return False
        self._last_update = now
        return True

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, (Stopped, KeyboardInterrupt)):
            self.say(f"Stopped after {self.bar.value} of {self.bar.max} steps.")
        elif error is not None:
            self.error = error
            self.say(in_plain_words(error), "wrong")
        self.go.disabled, self.halt.disabled = False, True

    def _draw_seed(self, _: Any) -> None:
        self.seed.value = random.randrange(10_000)  # short enough to be read aloud

    @abstractmethod
    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: what there is to see, with `line` below."""

    def _still_class(self) -> str:
        return f"aether-still-{self.box.model_id}" if self.box is not None else "aether-still"

    def __repr__(self) -> str:
        name = type(self).__name__
        return name if self.box is not None else f"{name}: {NOT_INSTALLED}"

    def _repr_png_(self) -> bytes:
        return self.picture(NOT_RUNNING if self.box is not None else NOT_INSTALLED)

    def _ipython_display_(self, **_: Any) -> None:
        """The still, for pages without a kernel, and then the widget, whose style hides it."""
        from IPython.display import display

        still, name = self._repr_png_(), type(self).__name__
        alt = f"{name}: {NOT_RUNNING if self.box is not None else NOT_INSTALLED}"
        page = f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(still).decode()}">'
        if self.box is not None:
            # Where the widget is dead, no "Loading widget..." stays below the still.
            page += (
                f"<style>.jp-OutputArea-child:has(.{self._still_class()}) + "
                ".jp-OutputArea-child:not(:has(.aether)) { display: none }</style>"
            )
        bundle = {
            "text/html": f'<div class="{self._still_class()}">{page}</div>',
            "image/png": base64.b64encode(still).decode(),
            "text/plain": repr(self),
        }
        display(bundle, metadata={"image/png": {"alt": alt}}, raw=True)
        if self.box is not None:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
            bundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": name}  # type: ignore[dict-item]
            display(bundle, raw=True)


def class_names(model: Any) -> tuple[str, ...]:
    """What the classes are called; their numbers, if they have no names."""
    if model.class_names is not None:
        return tuple(model.class_names)
    if model.num_classes == len(CIFAR10_CLASSES):
        return CIFAR10_CLASSES
    return tuple(str(i) for i in range(model.num_classes))


def in_plain_words(error: BaseException) -> str:
    """One line about an error, for people who did not write the code."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "The memory is full. Ask for fewer images."
    if isinstance(error, OSError) and error.strerror:  # without its "[Errno 28]"
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    words = str(error) or "it did not say why"
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return words[0].upper() + words[1:]
    return f"Something went wrong inside ({type(error).__name__}): {words}"


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets
