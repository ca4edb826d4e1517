"""`Panel`, the base of all widgets: controls, work in the background, a preview without a kernel.

No lesson builds this. It uses only controls that ipywidgets 7.7 (Colab) and 8 both have, and of
these only the ones that a screen reader can name: no Image, which has no alt text, and no slider.
"""

import base64
import html
import inspect
import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from importlib import resources
from typing import Any, ClassVar

import torch
from torch import nn

from ..checkpoint import load_pretrained
from ..data import CIFAR10_CLASSES
from ..diffusion import SamplingSettings
from ..generation import generate_images
from .images import html_image, html_preview, image_grid

try:
    import ipywidgets as ui
except ImportError:  # then a panel is only its preview
    ui = None

DEFAULTS = {name: p.default for name, p in inspect.signature(generate_images).parameters.items()}
#: The lowest and the highest value of a control. A page can send others, so `settings` clamps.
LIMITS: dict[str, tuple[Any, Any]] = {
    "num_samples": (1, 20),
    "steps": (1, 60),
    "guidance_scale": (0.0, 10.0),
    "seed": (0, 2**32 - 1),  # refused, not clamped
}
SAMPLERS = {"DPM-Solver++ (2M)": "dpmpp_2m", "Heun": "heun", "DDIM": "ddim"}
FRAMES_PER_SECOND = 25  # more would only fill the connection to the browser
NO_KERNEL = "This is a preview. Run the cell in a live notebook to get the controls."
NO_IPYWIDGETS = "This is a preview. Install ipywidgets and restart the kernel to get the controls."
#: How a panel looks, and what it needs of a browser: see these files.
CSS, SCRIPT = (
    resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    for name in ("style.css", "script.js")
)
DISCONNECTED = "The kernel has stopped, so nothing here responds. Run the cell again, or reload."


class Panel(ABC):
    """Controls and images around a model, shown by a cell that ends with one.

    A subclass lists in `arguments` the arguments of `generate_images` that have a control, and
    defines `prepare`, `layout`, `work` and `preview`.

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        controls: the control of each argument, by its name.
        box: the widget to place elsewhere; None if ipywidgets is not installed.
        error: what went wrong in the last run, or None.
    """

    arguments: ClassVar[tuple[str, ...]] = ("labels", "seed")
    trajectory: list[Any]  # of the panels that have a strip of steps
    calls: ClassVar[int] = 1  # of `generate_images` in a run, for the progress bar

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model: Any = load_pretrained() if model is None else model
        self.names = class_names(self.model)
        self.first_class = "horse" if "horse" in self.names else self.names[0]
        self.controls: dict[str, Any] = {}
        self.box: Any = None
        self.error: Exception | None = None
        self._busy, self._stop = threading.Lock(), threading.Event()
        # One thread for every run: memory that a thread has used is seldom given to another.
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._future: Future[None] | None = None
        self._last_frame = 0.0
        # A thread cannot update widgets there (googlecolab/colabtools#3373), so runs have none, and
        # nothing hears a Stop button: "Interrupt execution" in the menu ends a run.
        self._in_colab = "google.colab" in sys.modules
        self._preview_class = "aether-preview"
        self.prepare()
        if ui is not None:
            self._build()

    @abstractmethod
    def prepare(self) -> None:
        """Makes the first images, before there are controls."""

    @abstractmethod
    def layout(self) -> Sequence[Any]:
        """The parts of the page, from top to bottom."""

    @abstractmethod
    def work(self, settings: dict[str, Any]) -> None:
        """Generates and shows images; calls `advance` after every step."""

    @abstractmethod
    def preview(self, text: str) -> bytes:
        """The bytes of a PNG file: what to show without a kernel, with `text` below."""

    # Controls

    def _build(self) -> None:
        self.defaults = DEFAULTS | asdict(self.model.sampling or SamplingSettings())
        self.controls = {name: self._control(name) for name in self.arguments}
        self.generate_button = button("Generate", self.generate, button_style="primary")
        self.stop_button = button("Stop", self.stop, disabled=True)
        self.new_seed_button = button("New seed", self._draw_seed)
        self.seed_row = ui.HBox([self.controls["seed"], self.new_seed_button])
        buttons = [self.generate_button, self.stop_button]
        self.buttons = ui.HBox(buttons[:1] if self._in_colab else buttons)
        self.progress = ui.IntProgress(value=0, min=0, max=1)
        self.status, self.caption = ui.HTML(), ui.HTML()
        self.disconnected = ui.HTML(f'<div role="alert">{DISCONNECTED}</div>')
        parts = self.layout()
        for name, part in {**vars(self), **self.controls}.items():
            if isinstance(part, ui.DOMWidget):  # style.css knows it by its name
                part.add_class(f"aether-{name.replace('_', '-')}")
        style = ui.HTML()
        self.box = ui.VBox([style, self.disconnected, *parts]).add_class("aether")
        self._preview_class += f"-{self.box.model_id}"
        # Where the panel is alive, its own preview is hidden.
        style.value = f"<style>{CSS}.{self._preview_class} {{ display: none }}</style>"

    def _control(self, name: str) -> Any:
        if name == "labels":
            return ui.Dropdown(options=self.names, value=self.first_class, description="Class")
        value = self.defaults[name]
        if name == "sampler":
            options = [*SAMPLERS.items()]
            return ui.Dropdown(options=options, value=value.__name__, description="Sampler")
        low, high = LIMITS[name]
        if name == "seed":  # a text, because a control for numbers would change what is typed
            seed = ui.Text(value=str(value), description="Seed")
            seed.on_msg(self._entered)
            return seed
        if name == "guidance_scale":
            return number("Guidance", value, low, high)
        if name == "steps":
            return ui.BoundedIntText(value=value, min=low, max=high, description="Steps")
        return ui.BoundedIntText(value=10, min=low, max=high, description="Images")

    def sidebar(self, title: str, *below: Any, **replaced: Any) -> Any:
        """The left column: a title, the controls (or what replaces them), buttons, and the rest."""
        parts = {**self.controls, "seed": self.seed_row, **replaced}.values()
        column = ui.VBox([ui.HTML(line(title, "heading")), *parts, self.buttons, *below])
        return column.add_class("aether-left")

    def columns(self, left: Any, *right: Any) -> Any:
        """Two columns side by side, or below each other where the page is narrow."""
        column = ui.VBox(right).add_class("aether-right")
        return ui.HBox([left, column]).add_class("aether-columns")

    def pair(self, *images: tuple[str, Any]) -> Any:
        """Images side by side, each with a caption."""
        captioned = [ui.VBox([ui.HTML(line(caption)), image]) for caption, image in images]
        return ui.HBox(captioned).add_class("aether-pair")

    def sheet(self, picture: Any, choice: Any, cols: int) -> Any:
        """Radio buttons in `cols` columns over a picture, which hide all but the chosen one."""
        choice.layout.grid_template_columns = f"repeat({cols}, 1fr)"
        return ui.Box([picture, choice]).add_class("aether-sheet")

    def film_strip(self) -> Any:
        """All steps of `self.trajectory` as small images; `self.step` is the one that is chosen."""
        self.film, self.step = ui.HTML(), ui.RadioButtons(description="Step")
        return self.sheet(self.film, self.step, 1)

    def fill_film_strip(self, chosen: int) -> None:
        """Shows another trajectory in the strip, (t, xt, ...) for each step."""
        images = torch.stack([xt for _, xt, *_ in self.trajectory])
        self.film.value = html_image(image_grid(images, len(images)), "from noise to image")
        self.step.layout.grid_template_columns = f"repeat({len(images)}, 1fr)"
        self.step.options = [(f"step {i}", i) for i in range(len(images))]
        self.step.index = min(chosen, len(images) - 1)

    def settings(self) -> dict[str, Any]:
        """What the controls ask for, within the limits, as arguments of `generate_images`.

        Raises `ValueError` if the seed that was typed is none.
        """
        found = {name: within(name, control.value) for name, control in self.controls.items()}
        typed, highest = self.controls["seed"].value.strip(), LIMITS["seed"][1]
        if not typed.isdecimal() or len(typed) > 10 or int(typed) > highest:
            raise ValueError(f"The seed must be a whole number from 0 to {highest}.")
        return {**found, "seed": int(typed)}

    def log(self, text: str, *, error: bool = False) -> None:
        """Shows one line of text, which a screen reader reads out: at most a few in a run."""
        self.status.value = line(text, "error" if error else "text")

    def _entered(self, _: Any, message: dict[str, Any], __: Any) -> None:
        if message.get("event") == "submit":  # the Enter key
            self.generate()

    def _draw_seed(self) -> None:
        self.controls["seed"].value = str(random.randrange(10_000))  # can be read aloud

    # Work in the background, so that the page can still say that Stop was pressed

    @property
    def running(self) -> bool:
        """Whether there is a run."""
        return self._busy.locked()

    def generate(self) -> None:
        """Starts a run with what the controls ask for, unless there is one."""
        try:
            settings = self.settings()
        except ValueError as error:
            self.log(format_error(error), error=True)
            return
        if not self._busy.acquire(blocking=False):
            return
        self._stop.clear()
        self.error, self._last_frame = None, 0.0
        self.generate_button.disabled, self.stop_button.disabled = True, False
        self.progress.value, self.progress.description = 0, ""
        self.progress.max = settings.get("steps", self.defaults["steps"]) * self.calls
        if self._in_colab:
            self._run(settings)
        else:
            self._future = self._worker.submit(self._run, settings)

    def _run(self, settings: dict[str, Any]) -> None:
        try:
            self.work(settings)
        except KeyboardInterrupt:
            self.log(f"Stopped after {self.progress.value} of {self.progress.max} steps.")
        except Exception as error:
            self.error = error.with_traceback(None)  # its frames hold the images
            self.log(format_error(error), error=True)
        finally:
            self._busy.release()
            self.generate_button.disabled, self.stop_button.disabled = False, True

    def advance(self) -> bool:
        """Counts a step, or ends the run after Stop; returns whether it is time for a frame."""
        if self._stop.is_set():
            raise KeyboardInterrupt  # as if the kernel had been interrupted
        self.progress.value += 1
        self.progress.description = f"{self.progress.value} of {self.progress.max}"
        now = time.monotonic()
        if now - self._last_frame < 1 / FRAMES_PER_SECOND:
            return False
        self._last_frame = now
        return True

    def stop(self) -> None:
        """Ends the run after the step that is being computed."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end of the run, at most `timeout` seconds; returns whether it has come."""
        if self._future is not None:
            wait([self._future], timeout)
        return not self.running

    # In a notebook

    def _ipython_display_(self, **_: Any) -> None:
        """Shows the preview, for pages without a kernel, and then the widget, which hides it."""
        from IPython.display import display

        name, hidden = type(self).__name__, self._preview_class
        reason = NO_IPYWIDGETS if self.box is None else NO_KERNEL
        text = f"{name}: {reason}"
        image, small = html_preview(self.preview(reason), text)
        page = f'<div class="{hidden}">{image}</div>'
        if self.box is not None:
            # Without a kernel, no "Loading widget..." stays below the preview.
            page += f"<script>{SCRIPT}</script>"
            page += (
                f"<style>.jp-OutputArea-child:has(.{hidden}) + "
                ".jp-OutputArea-child:not(:has(.aether)) { display: none }</style>"
            )
        data: dict[str, Any] = {"text/html": page, "image/png": base64.b64encode(small).decode()}
        data["text/plain"] = text
        display(data, metadata={"image/png": {"alt": text}}, raw=True)
        if self.box is not None:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
            data = {"application/vnd.jupyter.widget-view+json": view, "text/plain": name}
            display(data, raw=True)


def class_names(model: Any) -> tuple[str, ...]:
    """The names of a model's classes; their numbers, if it has none."""
    names = model.class_names or (CIFAR10_CLASSES if model.num_classes == 10 else ())
    return tuple(names) or tuple(str(i) for i in range(model.num_classes))


def within(name: str, value: Any) -> Any:
    """The value of an argument, moved between its limits if it has any."""
    low, high = LIMITS.get(name, (None, None))
    return value if isinstance(value, str) else min(max(low, value), high)  # low for NaN


def format_error(error: Exception) -> str:
    """One line about an error, for people who did not write the code."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "Out of memory. Ask for fewer images."
    text = getattr(error, "strerror", None) or str(error) or "no message"
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return text[0].upper() + text[1:]
    return f"Something went wrong ({type(error).__name__}): {text}"


def line(text: str, kind: str = "text") -> str:
    """The HTML of a line; style.css knows "text", "heading" and "error"."""
    return f'<div class="aether-{kind}">{html.escape(text)}</div>'


def number(title: str, value: float, low: float, high: float) -> Any:
    """A field for a number between `low` and `high`."""
    return ui.BoundedFloatText(value=value, min=low, max=high, step=0.5, description=title)


def button(title: str, action: Callable[[], None], **options: Any) -> Any:
    """A button that calls `action` when it is clicked."""
    made = ui.Button(description=title, **options)
    made.on_click(lambda _: action())
    return made
