"""The widgets without a browser: what they generate, show, report and refuse.

A control is set as a page would set it; the last tests run a real kernel. The same tests pass with
ipywidgets 7.7 and 8. For the widgets in a browser, see test_browser.py.
"""

from __future__ import annotations

import base64
import copy
import gc
import inspect
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import aetherfusion
from aetherfusion import (
    DiffusionTransformerUNet,
    denoising_trajectory,
    generate_images,
    load_pretrained,
    save_images,
)
from aetherfusion.data import to_uint8, to_unit
from aetherfusion.diffusion import SamplingSettings
from aetherfusion.generation import starting_noise
from aetherfusion.widgets import (
    AttentionExplorer,
    ClassPicker,
    DenoisingScrubber,
    GuidanceExplorer,
)
from aetherfusion.widgets.images import encode_png, image_grid, preview

ipywidgets = pytest.importorskip("ipywidgets", reason="needs the extra 'notebooks'")

NAMES = ("cat", "dog", "frog", "horse")
WIDGETS = [ClassPicker, DenoisingScrubber, GuidanceExplorer, AttentionExplorer]
ROUNDING = 1e-4  # of the same image, computed again; sums depend on where memory lies
PATIENCE = 60  # seconds for what takes a tenth of one, because the machine may be busy

every = pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)


def make_model(num_classes: int = 4, class_names: tuple[str, ...] | None = NAMES) -> Any:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(
        image_size=16,
        num_classes=num_classes,
        embedding_dim=8,
        num_heads=2,
        depth=2,
        class_names=class_names,
    )
    with torch.no_grad():  # otherwise its images would be flat grey
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


@pytest.fixture
def model() -> Any:
    return make_model()


class Gate:
    """Holds a model before each of its calls until it is let through."""

    def __init__(self, model: Any) -> None:
        self.calls = self.allowed = 0
        self.changed = threading.Condition()
        self.hook = model.register_forward_pre_hook(self._hold)

    def _hold(self, *_: Any) -> None:
        with self.changed:
            self.calls += 1
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.calls <= self.allowed, PATIENCE)

    def let_through(self, number: int, *, hold_next: bool = True) -> None:
        """Lets so many calls finish and waits until the next one is held."""
        with self.changed:
            self.allowed += number
            self.changed.notify_all()
            if hold_next:
                assert self.changed.wait_for(lambda: self.calls > self.allowed, PATIENCE)

    def open(self) -> None:
        self.hook.remove()
        self.let_through(10_000, hold_next=False)


def click(button: Any) -> None:
    """A disabled button cannot be clicked on a page."""
    assert not button.disabled
    button.click()


def send(control: Any, value: Any) -> None:
    """Sets a control as a page does: choices are numbers there, and a seed is a text."""
    value = str(value) if isinstance(control, ipywidgets.Text) else value
    if isinstance(control, (ipywidgets.Dropdown, ipywidgets.RadioButtons)):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        control.set_state({"index": values.index(value)})
    else:
        control.set_state({"value": value})
    assert control.value == value


def finish(widget: Any) -> None:
    assert widget.wait(PATIENCE)
    assert widget.error is None, widget.error


def run(widget: Any, **settings: Any) -> None:
    """Sets controls, presses Generate and waits for the end."""
    for name, value in settings.items():
        send(widget.controls[name], value)
    click(widget.generate_button)
    finish(widget)


def parts(widget: Any) -> list[Any]:
    """A widget and everything inside it."""
    return [widget, *(part for child in getattr(widget, "children", ()) for part in parts(child))]


def pixels(image: bytes | str) -> np.ndarray[Any, Any]:
    """What is in a PNG file, or in the `<img>` of a page."""
    if isinstance(image, str):
        height, width = (int(re.findall(rf'{s}="(\d+)"', image)[0]) for s in ("height", "width"))
        (encoded,) = re.findall(r"^<img alt=.*base64,(.*)\">$", image)
        found = pixels(base64.b64decode(encoded))
        assert found.shape[:2] == (height, width)
        return found
    return np.asarray(Image.open(io.BytesIO(image)))


def alt(image: Any) -> str:
    return str(re.findall(r'^<img alt="([^"]+)"', image.value)[0])


def distance(a: Any, b: Any) -> float:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.abs(a - b).max())


def bytes_of(image: Tensor) -> np.ndarray[Any, Any]:
    """(C, H, W) in [0, 1] to (H, W, C) bytes."""
    return to_uint8(image).permute(1, 2, 0).numpy()


def assert_shows(image: Any, images: Tensor, cols: int) -> None:
    """The image on the page has these images in rows, with gaps of one pixel."""
    page, (height, width) = pixels(image.value), images.shape[-2:]
    assert page.shape == (-(-len(images) // cols) * (height + 1) - 1, cols * (width + 1) - 1, 4)
    for i, expected in enumerate(images):
        top, left = i // cols * (height + 1), i % cols * (width + 1)
        shown = page[top : top + height, left : left + width, :3]
        assert distance(shown, bytes_of(expected)) == 0, f"image {i} is another one"


# Images as bytes


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_every_image_in_its_place(channels: int) -> None:
    images = torch.rand(5, channels, 4, 6, generator=torch.Generator().manual_seed(0))
    page = pixels(encode_png(image_grid(images, 3, gap=2)))
    assert page.shape == (4 + 2 + 4, 6 + 2 + 6 + 2 + 6, 4)
    assert distance(page[:4, 8:14, :3], bytes_of(images[1].expand(3, -1, -1))) == 0
    assert distance(page[6:, 8:14, :3], bytes_of(images[4].expand(3, -1, -1))) == 0
    assert (page[..., 3] == 255).sum() == 5 * 4 * 6  # the gaps and the last place are transparent
    assert page[4:6, :, 3].max() == 0 and page[6:, 16:, 3].max() == 0


def test_a_preview_has_the_images_and_the_text() -> None:
    rows = [torch.full((3, 3, 8, 8), value) for value in (0.2, 0.6)]
    short = pixels(preview(rows, ("x", "y", "z"), ("a", "b"), "Why."))
    long = pixels(preview(rows, ("x", "y", "z"), ("a", "b"), "Why. " * 40))
    for value in (51, 153):  # six times as large: three images of 48 x 48 in each row
        assert (short == value).all(-1).sum() == 3 * 48 * 48
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]
    assert (short[-30:] < 128).any(), "the text is missing"
    wide = pixels(preview(rows, ("automobile",) * 3, (), "Why."))
    blank = (wide[:32] == 255).all((0, 2)).astype(int)  # no two headings touch
    assert (np.diff(blank[:450]) == 1).sum() >= 3
    assert (short[:30] < 128).any(), "the headings of the columns are missing"
    assert (short[:, :90] < 128).any(), "the headings of the rows are missing"


# The class-picker


def test_it_starts_with_the_defaults_of_the_function_and_the_model(model: Any) -> None:
    defaults = {n: p.default for n, p in inspect.signature(generate_images).parameters.items()}
    expected = {"guidance_scale": 3.5, "steps": 14, "seed": defaults["seed"]}
    expected |= {"num_samples": 10, "labels": "horse", "sampler": defaults["sampler"].__name__}
    assert ClassPicker(model).settings() == expected
    own = copy.deepcopy(model)
    own.sampling = SamplingSettings(steps=2, guidance_scale=1.0)
    assert ClassPicker(own).settings() == expected | {"guidance_scale": 1.0, "steps": 2}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("labels", "dog", 'labels="dog"'),
        ("num_samples", 3, "generate_images(model, 3, "),
        ("guidance_scale", 4.5, "guidance_scale=4.5"),
        ("steps", 7, "steps=7"),
        ("seed", 2**32 - 1, "seed=4294967295"),
        ("sampler", "heun", 'sampler="heun"'),
        ("sampler", "ddim", 'sampler="ddim"'),
    ],
)
def test_each_control_changes_one_argument(model: Any, name: str, value: Any, code: str) -> None:
    picker = ClassPicker(model)
    run(picker, num_samples=2, steps=5)
    before, first = picker.settings(), picker.image.value
    send(picker.controls[name], value)
    assert picker.settings() == {**before, name: value}
    assert code in picker.code.value
    assert picker.image.value == first, "an image changed before Generate was pressed"
    run(picker)
    expected = generate_images(model, **{**before, name: value})
    assert picker.images is not None and distance(picker.images, expected) < ROUNDING
    assert_shows(picker.image, picker.images, len(expected))
    assert picker.image.value != first


@pytest.mark.parametrize(("value", "end"), [(2**70, 1), (-(2**70), 0), (float("nan"), 0)])
def test_what_a_page_asks_for_is_limited(model: Any, value: Any, end: int) -> None:
    """A page can move the ends of a slider: 10**9 images would fill the memory."""
    picker, explorer = ClassPicker(model), GuidanceExplorer(model)
    limits = {"guidance_scale": (0, 10)}
    if value == value:  # whole numbers cannot be NaN
        limits |= {"num_samples": (1, 20), "steps": (1, 60)}
    for name in limits:
        picker.controls[name].set_state({"max" if end else "min": value})
        picker.controls[name].set_state({"value": value})
    for control in (explorer.lowest, explorer.highest):
        control.set_state({"max" if end else "min": value})
        control.set_state({"value": value})
    assert {name: picker.settings()[name] for name in limits} == {
        name: limit[end] for name, limit in limits.items()
    }
    assert explorer.settings()["scales"] == [limits["guidance_scale"][end]] * 4
    run(picker)
    assert picker.images is not None and len(picker.images) == picker.settings()["num_samples"]


@pytest.mark.parametrize("typed", ["-1", "4294967296", "1.5", "", "seven", "9" * 5000])
@every
def test_a_seed_is_refused_in_one_sentence(model: Any, widget: Any, typed: str) -> None:
    made = widget(model)
    seed = made.controls["seed"]
    seed.set_state({"value": typed})
    assert seed.value == typed, "what was typed has been changed"
    click(made.generate_button)
    assert not made.running and "must be a whole number from 0 to 4294967295." in made.status.value
    assert "aether-error" in made.status.value
    if widget is ClassPicker:
        assert made.code.value == "The seed must be a whole number from 0 to 4294967295."
    run(made, seed=2**32 - 1)
    assert "aether-error" not in made.status.value


def test_the_enter_key_in_the_seed_generates(model: Any) -> None:
    picker = ClassPicker(model)
    send(picker.controls["seed"], 3)
    picker.controls["seed"]._handle_custom_msg({"event": "submit"}, [])
    finish(picker)
    assert "seed 3 ·" in picker.status.value


def test_a_class_is_chosen_by_its_card(model: Any) -> None:
    picker = ClassPicker(model)
    for name in (*NAMES, NAMES[0]):
        send(picker.controls["labels"], name)
        assert picker.settings()["labels"] == name and f'labels="{name}"' in picker.code.value
    (cards,) = (part for part in parts(picker.box) if "aether-cards" in part._dom_classes)
    pictures, choice = cards.children
    assert choice is picker.controls["labels"] and choice.options == NAMES
    images = re.findall(r'<img alt="".*?>', pictures.value)  # the names are texts below them
    options = {"seed": 12, "steps": 8, "guidance_scale": 4.0, "guidance_interval": (0.0, 1.0)}
    for i, (image, name) in enumerate(zip(images, NAMES, strict=True)):
        expected = generate_images(model, i + 1, labels=name, **options)[i]
        assert distance(pixels(image), bytes_of(expected)) <= 1  # rounded differently


def test_the_line_of_code_makes_the_same_images_whatever_the_names(tmp_path: Path) -> None:
    names = ("cat's", "cat/dog", 'so "called"', "größe")
    model = make_model(4, class_names=names)
    picker = ClassPicker(model, folder=tmp_path)
    for name in names:
        run(picker, labels=name, num_samples=2, steps=4, guidance_scale=1.5, sampler="heun")
        again = eval(picker.code.value, {"generate_images": generate_images, "model": model})
        assert picker.images is not None and distance(picker.images, again) < ROUNDING
        click(picker.save_button)
    saved = ["cat-dog", "cat-s", "größe", "so-called"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{stem}-seed0.png" for stem in saved]


def test_new_seed(model: Any) -> None:
    picker = ClassPicker(model)
    seeds = []
    for _ in range(20):
        click(picker.new_seed_button)
        seeds.append(picker.controls["seed"].value)
        assert f"seed={seeds[-1]}" in picker.code.value
    assert len(set(seeds)) > 15 and all(0 <= int(seed) < 10_000 for seed in seeds)


def test_noise_comes_first_and_the_images_get_clearer(model: Any) -> None:
    picker = ClassPicker(model)
    noise = to_unit(starting_noise(model, range(10), 0))
    assert_shows(picker.image, noise, 5)
    assert picker.save_button.disabled and picker.images is None and picker.stop_button.disabled
    assert "Generate" in picker.status.value
    assert alt(picker.image) == "noise"
    frames: list[str] = []
    picker.image.observe(lambda change: frames.append(change["new"]), names="value")
    model.register_forward_pre_hook(lambda *_: time.sleep(0.05))  # so slow that each step is shown
    run(picker, num_samples=4, steps=12)
    images = [pixels(frame).astype(float) for frame in frames]
    assert distance(images[0][:16, :16, :3], bytes_of(noise[0])) == 0
    assert len(images) == 14  # the noise, the same again as step 0, 1 to 11, and the result
    distances = [np.abs(image - images[-1]).mean() for image in images]
    assert distances == sorted(distances, reverse=True) and distances[0] > 20
    assert picker.images is not None
    assert_shows(picker.image, picker.images, 4)
    assert alt(picker.image) == "generated images, 4 of class horse"
    assert picker.progress.value == picker.progress.max == 12
    assert picker.progress.description == "12 of 12"


def test_changes_during_a_run_are_for_the_next_one(model: Any) -> None:
    picker = ClassPicker(model)
    held = Gate(model)
    click(picker.generate_button)
    held.let_through(0)
    send(picker.controls["seed"], 9)
    send(picker.controls["num_samples"], 2)
    send(picker.controls["labels"], "cat")
    held.open()
    finish(picker)
    assert picker.images is not None
    assert distance(picker.images, generate_images(model, 10, labels="horse")) < ROUNDING
    assert "10 of class horse · seed 0" in picker.status.value
    assert 'model, 2, labels="cat"' in picker.code.value and "seed=9" in picker.code.value


def test_save_as_png(model: Any, tmp_path: Path) -> None:
    picker = ClassPicker(model, folder=tmp_path / "new")
    assert picker.save_button.disabled
    picker.save_button.click()  # a click that was on its way
    assert "nothing to save" in picker.status.value
    run(picker)
    click(picker.save_button)
    first = tmp_path / "new" / "horse-seed0.png"
    assert str(first) in picker.status.value and picker.images is not None
    expected = save_images(picker.images, tmp_path / "expected.png", cols=5)
    assert first.read_bytes() == expected.read_bytes()
    click(picker.save_button)
    assert "horse-seed0-2.png" in picker.status.value
    assert len(list(first.parent.iterdir())) == 2
    picker.folder = first  # where it cannot be written
    click(picker.save_button)
    assert "Not saved." in picker.status.value and "aether-error" in picker.status.value


def test_rows_are_full_where_they_can_be(model: Any) -> None:
    picker = ClassPicker(model)
    for number, cols in ((1, 1), (4, 4), (6, 3), (8, 4), (10, 5), (11, 5), (12, 4), (20, 5)):
        run(picker, num_samples=number, steps=1)
        assert picker.images is not None
        assert_shows(picker.image, picker.images, cols)


def test_any_number_of_classes() -> None:
    many = ClassPicker(make_model(30, None))
    assert many.controls["labels"] in parts(many.box)
    assert isinstance(many.controls["labels"], ipywidgets.Dropdown)
    run(many, labels="29", steps=1)
    assert 'labels="29"' in many.code.value and "class 29" in many.status.value
    assert ClassPicker(make_model(10, None)).controls["labels"].options[6] == "frog"
    assert ClassPicker(make_model(1, ("only",))).controls["labels"].options == ("only",)


# The other three


def test_the_scrubber_shows_the_trajectory(model: Any) -> None:
    scrubber = DenoisingScrubber(model)
    run(scrubber, labels="dog", steps=6, guidance_scale=1.5, seed=4)
    way = denoising_trajectory(model, labels="dog", steps=6, guidance_scale=1.5, seed=4)
    assert len(scrubber.step.options) == len(scrubber.trajectory) == 7 and scrubber.play.max == 6
    assert_shows(scrubber.film, torch.stack([xt for _, xt, _ in scrubber.trajectory]), 7)
    assert scrubber.step.index == 6
    for i in range(7):
        send(scrubber.step, i)
        x0_hat = way.x0_hat[i, 0] if i < 6 else way.xt[6, 0]
        assert distance(pixels(scrubber.noisy.value), bytes_of(to_unit(way.xt[i, 0]))) <= 1
        assert distance(pixels(scrubber.estimate.value), bytes_of(to_unit(x0_hat))) <= 1
        words = f"step {i} · t = {float(way.times[i]):.2f}"
        assert words in scrubber.caption.value and words in alt(scrubber.noisy)
    assert "finished" in scrubber.caption.value
    run(scrubber, steps=9)
    assert len(scrubber.step.options) == 10 and scrubber.play.max == 9


def test_a_stopped_run_can_be_scrubbed(model: Any) -> None:
    scrubber = DenoisingScrubber(model)
    held = Gate(model)
    click(scrubber.generate_button)
    held.let_through(4)
    click(scrubber.stop_button)
    held.let_through(1, hold_next=False)
    finish(scrubber)
    assert "Stopped after 4 of 14" in scrubber.status.value and len(scrubber.trajectory) == 5
    assert len(scrubber.step.options) == 5 and scrubber.step.index == 4
    for i in (3, 0, 4):
        send(scrubber.step, i)
        shown = bytes_of(scrubber.trajectory[i][1])
        assert distance(pixels(scrubber.noisy.value), shown) == 0


def test_the_guidance_table_starts_every_image_from_the_same_noise(model: Any) -> None:
    explorer = GuidanceExplorer(model)
    send(explorer.lowest, 0.5)
    send(explorer.highest, 5.0)
    run(explorer, steps=3, seed=6)
    assert explorer.scales == [0.5, 2.0, 3.5, 5.0]
    for row, scale in zip(explorer.rows, explorer.scales, strict=True):
        for image, name in zip(row, NAMES, strict=True):
            options = {"labels": name, "seed": 6, "steps": 3, "guidance_scale": scale}
            alone = generate_images(model, 1, guidance_interval=(0.0, 1.0), **options)[0]
            # Guidance multiplies the rounding of its two estimates, scale and 1 - scale times.
            assert distance(image, alone) < 1e-5 * (scale + abs(1 - scale))
        assert f"<div>{scale:g}</div>" in explorer.side.value
    assert_shows(explorer.image, torch.cat(explorer.rows), 4)
    assert explorer.progress.value == explorer.progress.max == 12


def test_the_guidance_table_fills_row_by_row(model: Any) -> None:
    explorer = GuidanceExplorer(model)
    before = torch.stack(explorer.rows)
    held = Gate(model)
    click(explorer.generate_button)
    held.let_through(8)  # the first row
    send(explorer.highest, 9.0)  # for the next run
    time.sleep(0.05)  # longer than a frame
    held.let_through(2)
    click(explorer.stop_button)
    held.let_through(1, hold_next=False)
    finish(explorer)
    assert "Stopped after 10 of 32" in explorer.status.value
    assert explorer.scales == [1.0, 3.0, 5.0, 7.0] and "<div>9</div>" not in explorer.side.value
    assert distance(explorer.rows[0], before[0]) < ROUNDING
    assert distance(explorer.rows[1], before[1]) > ROUNDING
    assert explorer.rows[1].min() < 1 and explorer.rows[2].min() == 1  # white: not begun


def test_the_attention_shown_is_the_one_in_use(model: Any) -> None:
    explorer = AttentionExplorer(model)
    run(explorer, labels="cat", seed=8)
    way = denoising_trajectory(model, labels="cat", seed=8)
    assert len(explorer.trajectory) == 14
    expected: list[Tensor] = []
    for block in model.unet.blocks:  # what each attention layer computes from its input
        block.attention.register_forward_hook(
            lambda layer, inputs, _: expected.append(layer.attention_maps(*inputs).detach())
        )
    for step in (0, 6, 13):
        t, xt, x0_hat, maps = explorer.trajectory[step]
        assert t == pytest.approx(float(way.times[step])) and maps.shape == (2, 2, 16, 16)
        assert distance(xt, to_unit(way.xt[step, 0])) < ROUNDING
        assert distance(x0_hat, to_unit(way.x0_hat[step, 0])) < ROUNDING
        expected.clear()
        model(way.xt[step], torch.tensor([t]), torch.tensor([0]))
        assert distance(maps, torch.cat(expected)) < ROUNDING


def test_every_choice_of_the_attention_explorer_changes_what_is_lit(model: Any) -> None:
    explorer = AttentionExplorer(model)
    mean = explorer.trajectory[explorer.step.index][-1][1, :, 2 * 4 + 2].mean(0)
    assert f"a weight of {mean.max():.0%}" in explorer.caption.value  # of all heads, at first
    images = [explorer.attended.value]
    assert [label for label, _ in explorer.block.options] == ["0", "1"]  # as lesson 02 counts
    assert [label for label, _ in explorer.head.options] == ["mean", "0", "1"]
    names = [label for label, _ in explorer.cell.options]  # for screen readers
    assert names == [f"row {i // 4}, column {i % 4}" for i in range(16)]
    assert_shows(explorer.film, torch.stack([xt for _, xt, *_ in explorer.trajectory]), 14)
    for name, value in (
        ("block", 0),
        ("block", 1),
        ("head", 1),
        ("head", 0),
        ("step", 3),
        ("cell", 2),
    ):
        send(getattr(explorer, name), value)
        images.append(explorer.attended.value)
    send(explorer.cell, 3)
    images.append(explorer.attended.value)
    assert len(set(images)) == 7  # of 8: the second is block 1 again
    weights = explorer.trajectory[3][-1][1, 0, 3]  # row 0, column 3 of a 4 x 4 grid
    row, column = divmod(int(weights.argmax()), 4)
    assert (
        f"Row 0, column 3 attends most to row {row}, column {column}, with a weight of "
        f"{weights.max():.0%}" in explorer.caption.value
    )
    assert alt(explorer.attended).startswith(f"Row 0, column 3 attends most to row {row}, ")
    # The cell with the highest weight is as bright as the estimate; the others are darker. The
    # frame is around the cell that was clicked.
    lit = pixels(explorer.attended.value).reshape(4, 32, 4, 32, 3)
    assert [tuple(lit[0, 0, 3, 0]), tuple(lit[0, 31, 3, 31])] == [(255, 115, 0)] * 2
    x0_hat = bytes_of(explorer.trajectory[3][2]).reshape(4, 4, 4, 4, 3)
    bright = x0_hat[:, 2, :, 2] > 60
    share = lit[:, 16, :, 16] / x0_hat[:, 2, :, 2].clip(1)  # in the middle of each cell
    expected = 0.15 + 0.85 * (weights / weights.max()).sqrt().view(4, 4, 1).numpy()
    assert np.abs(share - expected)[bright].max() < 0.02


def test_two_widgets_may_use_one_model_at_once(model: Any) -> None:
    picker, explorer = ClassPicker(model), AttentionExplorer(model)
    before = torch.stack([maps for *_, maps in explorer.trajectory])
    send(picker.controls["steps"], 60)
    for _ in range(5):
        click(picker.generate_button)
        run(explorer)
        maps = torch.stack([maps for *_, maps in explorer.trajectory])
        assert distance(maps, before) < ROUNDING
        finish(picker)


# What all have in common


@every
def test_it_stops_after_one_step_and_runs_again(model: Any, widget: Any) -> None:
    made = widget(model)
    held = Gate(model)
    click(made.generate_button)
    held.let_through(3)
    assert made.generate_button.disabled and not made.stop_button.disabled and made.running
    threads = threading.active_count()
    for _ in range(5):
        made.generate_button.click()  # clicks that were on their way
    assert threading.active_count() == threads
    click(made.stop_button)
    held.let_through(1, hold_next=False)  # the step that was under way when Stop was pressed
    finish(made)
    assert held.calls == 4, "it went on after Stop"
    assert "Stopped after 3 of" in made.status.value
    assert made.stop_button.disabled and not made.running
    held.open()
    made.stop()  # a stop of nothing does not stop what comes next
    run(made)
    assert not made.generate_button.disabled and made.stop_button.disabled
    assert made.progress.value == made.progress.max


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("shapes do not match"), "Something went wrong (RuntimeError): shapes do"),
        (ValueError("labels must be in [0, 4)"), "Labels must be in [0, 4)"),
        (torch.OutOfMemoryError("CUDA"), "Out of memory. Ask for fewer images."),
        (OSError(28, "No space left on device"), ">No space left on device"),
        (RuntimeError("<script>"), "&lt;script&gt;"),
    ],
)
def test_an_error_is_shown_in_one_line(model: Any, error: Exception, words: str) -> None:
    scrubber = DenoisingScrubber(model)
    before = scrubber.preview("")
    hook = model.register_forward_pre_hook(Mock(side_effect=error))
    click(scrubber.generate_button)
    assert scrubber.wait(PATIENCE)
    assert words in scrubber.status.value and "aether-error" in scrubber.status.value
    assert scrubber.error is error and error.__traceback__ is None  # it would hold the images
    assert scrubber.preview("") == before, "a run that fails at once keeps the last image"
    assert not scrubber.generate_button.disabled and scrubber.stop_button.disabled
    hook.remove()
    run(scrubber)
    assert "aether-error" not in scrubber.status.value


@every
def test_in_colab_the_run_ends_before_the_click_does(
    model: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    made, threads = widget(model), set()
    hook = model.register_forward_pre_hook(lambda *_: threads.add(threading.current_thread()))
    assert made.stop_button not in parts(made.box)  # nothing would hear it
    click(made.generate_button)
    assert threads == {threading.main_thread()} and not made.running
    assert made.progress.value == made.progress.max and not made.generate_button.disabled
    hook.remove()
    # "Interrupt execution" in the menu
    model.register_forward_pre_hook(Mock(side_effect=KeyboardInterrupt))
    click(made.generate_button)
    assert "Stopped after 0" in made.status.value and not made.running


@every
def test_it_needs_only_the_controls_that_every_front_end_has(model: Any, widget: Any) -> None:
    found = parts(widget(model).box)
    assert {part._model_module for part in found} == {"@jupyter-widgets/controls"}
    unnamed = {"Box", "HBox", "VBox", "HTML", "Play", "IntProgress"}
    # All of ipywidgets 7.7; `Output` is left out, because not every front end shows it. So are
    # `Image`, which has no alt text, and sliders, whose names no screen reader finds.
    named = {"Button", "Text", "BoundedIntText", "BoundedFloatText", "Dropdown", "RadioButtons"}
    assert {type(part).__name__ for part in found} <= unnamed | named
    assert all(part.description for part in found if type(part).__name__ in named)


@every
def test_only_its_own_preview_is_hidden(model: Any, widget: Any) -> None:
    one, other = widget(model), widget(model)
    for panel in (one, other):
        style = panel.box.children[0].value
        assert ".aether-heading" in style  # the style sheet has been read
        hidden = re.findall(r"\.(aether-preview\S*) { display: none }", style)
        assert hidden == [f"aether-preview-{panel.box.model_id}"]


def test_the_pretrained_model_is_the_default() -> None:
    picker, expected = ClassPicker(), load_pretrained()
    weights, names = expected.state_dict(), picker.names
    assert all(torch.equal(weights[k], w) for k, w in picker.model.state_dict().items())
    assert names[0] == "airplane" and len(names) == 10


def test_memory_does_not_grow() -> None:
    """Over 30 runs, after ten to settle: no more objects, threads or megabytes."""
    psutil = pytest.importorskip("psutil", reason="comes with ipykernel")
    picker, process = ClassPicker(make_model()), psutil.Process()

    def counted() -> tuple[int, int, int]:
        gc.collect()
        tensors = sum(isinstance(thing, Tensor) for thing in gc.get_objects())
        return process.memory_info().rss, threading.active_count(), tensors

    for _ in range(10):
        run(picker, steps=4)
    rss, threads, tensors = counted()
    for seed in range(30):
        run(picker, seed=seed)
    assert counted()[1:] == (threads, tensors)
    assert counted()[0] - rss < 8_000_000


# In a process of its own

MAKE = """
import sys, threading, torch
from aetherfusion import DiffusionTransformerUNet
from aetherfusion.widgets import *
torch.manual_seed(0)
model = DiffusionTransformerUNet(image_size=16, embedding_dim=8, num_heads=2, depth=1)
"""


def environment() -> dict[str, str]:
    root = str(Path(aetherfusion.__file__).parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_without_ipywidgets_there_is_a_preview() -> None:
    code = "import sys; sys.modules['ipywidgets'] = None" + MAKE
    for widget in WIDGETS:
        code += f"made = {widget.__name__}(model)\nprint(made.box, len(made.preview('x')) > 1000)\n"
        code += "made._ipython_display_()\n"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    lines = result.stdout.splitlines()
    assert lines[::2] == ["None True"] * 4
    for line, widget in zip(lines[1::2], WIDGETS, strict=True):
        assert widget.__name__ in line and "Install ipywidgets" in line


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    manager = pytest.importorskip("jupyter_client.manager")
    km, client = manager.start_new_kernel(
        kernel_name="python3", startup_timeout=PATIENCE, env=environment()
    )
    yield client
    client.stop_channels()
    km.shutdown_kernel(now=True)


def execute(client: Any, code: str) -> tuple[str, list[dict[str, Any]]]:
    """What a cell prints and displays."""
    printed, outputs = [], []

    def keep(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif message["msg_type"] in ("display_data", "execute_result"):
            outputs.append({"data": content["data"], "metadata": content["metadata"]})

    reply = client.execute_interactive(code, timeout=PATIENCE, output_hook=keep)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed), outputs


def wait_for(client: Any, widget: str, trait: str, until: Callable[[Any], bool]) -> Any:
    """The first value of a trait, among those that the kernel sends, for which `until` holds."""
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        content = message["content"]
        if message["msg_type"] == "comm_msg" and content["comm_id"] == widget:
            data = content["data"]
            state = dict(data.get("state", {}))
            for path, buffer in zip(data.get("buffer_paths", []), message["buffers"], strict=True):
                state[path[0]] = bytes(buffer)
            if data["method"] == "update" and trait in state and until(state[trait]):
                return state[trait]


def test_a_kernel_stays_responsive_during_a_run(kernel: Any) -> None:
    code = """
picker = ClassPicker(model)
picker.controls["seed"].value = "1"  # the noise of seed 0 is shown already
gate = threading.Semaphore(0)
model.register_forward_pre_hook(lambda *_: gate.acquire(timeout=60) and None)
parts = picker.generate_button, picker.stop_button, picker.image, picker.progress, picker.status
print(*(part.model_id for part in parts))
"""
    generate, stop, image, progress, status = execute(kernel, MAKE + code)[0].split()

    def send_click(widget: str) -> None:
        data = {"method": "custom", "content": {"event": "click"}}
        message = kernel.session.msg("comm_msg", {"comm_id": widget, "data": data})
        kernel.shell_channel.send(message)

    send_click(generate)
    first = wait_for(kernel, image, "value", lambda value: True)
    assert (
        pixels(first).shape == (33, 84, 4) and 'alt="noise"' in first
    )  # noise, before the model is called
    assert execute(kernel, "print(picker.running)")[0] == "True\n"  # cells run meanwhile
    kernel.execute("gate.release(3)")  # unlike `execute`, which would take the messages
    wait_for(kernel, progress, "value", lambda value: value == 3)
    send_click(generate)  # changes nothing
    send_click(stop)
    kernel.execute("gate.release(1)")
    wait_for(kernel, status, "value", lambda value: "Stopped after 3 of 14 steps" in value)
    kernel.execute("gate.release(14)")
    send_click(generate)
    wait_for(kernel, status, "value", lambda value: "seed 1 ·" in value)
    printed, _ = execute(kernel, "print(picker.error, picker.progress.value, gate._value)")
    assert printed == "None 14 0\n"


@every
def test_a_notebook_keeps_the_preview(kernel: Any, widget: Any) -> None:
    """What nbconvert and GitHub show, where the widget cannot be."""
    name = widget.__name__
    printed, (still, view) = execute(
        kernel, f"{MAKE}made = {name}(model)\nprint(made.box.model_id)\nmade"
    )
    html, alt = still["data"]["text/html"], still["metadata"]["image/png"]["alt"]
    assert alt.startswith(f"{name}: This is a preview.") and still["data"]["text/plain"] == alt
    assert f'class="aether-preview-{printed.strip()}"' in html and f'alt="{alt}"' in html
    height, width = pixels(base64.b64decode(still["data"]["image/png"])).shape  # of 256 colours
    assert height > 60 and width > 500
    (webp,) = re.findall(r'src="data:image/webp;base64,(.*?)"', html)
    assert pixels(base64.b64decode(webp)).shape == (height, width, 3)
    assert view["data"]["text/plain"] == name  # the same every time
    bundle = view["data"]["application/vnd.jupyter.widget-view+json"]
    assert bundle["model_id"] == printed.strip() and bundle["version_major"] == 2
