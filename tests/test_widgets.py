"""The widgets, control by control, without a browser: what they make, show, say and refuse.

What a front end sends is played to them as a kernel would; the last tests run a real kernel.
The same tests pass with ipywidgets 7.7 and 8. In a browser: test_browser.py.
"""

from __future__ import annotations

import gc
import inspect
import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import aetherfusion
from aetherfusion import (
    DiffusionTransformerUNet,
    MultiHeadSelfAttention,
    ddim,
    denoising_trajectory,
    generate_images,
    heun,
    save_images,
)
from aetherfusion.data import to_uint8, to_unit
from aetherfusion.generation import starting_noise
from aetherfusion.widgets import (
    AttentionExplorer,
    ClassPicker,
    DenoisingScrubber,
    GuidanceExplorer,
    panel,
)
from aetherfusion.widgets.attention_explorer import attention_on_the_way
from aetherfusion.widgets.background import Background, Stopped
from aetherfusion.widgets.panel import NOT_INSTALLED, NOT_RUNNING
from aetherfusion.widgets.stills import mosaic, png, still

ipywidgets = pytest.importorskip("ipywidgets", reason="needs the extra 'notebooks'")

NAMES = ("cat", "dog", "frog", "horse")
FOUR = [ClassPicker, DenoisingScrubber, GuidanceExplorer, AttentionExplorer]
PATIENCE = 60  # seconds for what takes a tenth of one, as the machine may be busy

every = pytest.mark.parametrize("widget", FOUR, ids=lambda widget: widget.__name__)


def made(num_classes: int = 4, class_names: tuple[str, ...] | None = NAMES) -> Any:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(
        image_size=16,
        num_classes=num_classes,
        embedding_dim=8,
        num_heads=2,
        depth=2,
        class_names=class_names,
    )
    with torch.no_grad():  # its pictures are no flat grey
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


@pytest.fixture
def model() -> Any:
    return made()


class Gate:
    """Holds a model back before each of its looks, until it is let through."""

    def __init__(self, model: Any) -> None:
        self.looks, self.arrived, self.leave = 0, threading.Semaphore(0), threading.Semaphore(0)
        self.hook = model.register_forward_pre_hook(self._wait)

    def _wait(self, *_: Any) -> None:
        self.looks += 1
        self.arrived.release()
        assert self.leave.acquire(timeout=PATIENCE)

    def wait_for_look(self) -> None:
        assert self.arrived.acquire(timeout=PATIENCE)

    def let_through(self, number: int = 1) -> None:
        self.leave.release(number)

    def open(self) -> None:
        self.hook.remove()
        self.leave.release(10_000)


@pytest.fixture
def gate(model: Any) -> Iterator[Callable[[], Gate]]:
    gates: list[Gate] = []

    def close() -> Gate:
        gates.append(Gate(model))
        return gates[-1]

    yield close
    for one in gates:
        one.open()


def click(button: Any) -> None:
    """As a front end tells of it; a disabled button cannot be clicked there."""
    assert not button.disabled
    button._handle_custom_msg({"event": "click"}, [])


def move(control: Any, value: Any) -> None:
    """As a front end tells of it: choices are numbers there."""
    if isinstance(control, (ipywidgets.Dropdown, ipywidgets.ToggleButtons)):
        control.set_state({"index": list(control._options_values).index(value)})
    else:
        control.set_state({"value": value})
    assert control.value == value


def finish(widget: Any) -> None:
    assert widget.background.wait(PATIENCE)
    assert widget.error is None, widget.error


def run(widget: Any) -> None:
    click(widget.go)
    finish(widget)


def pixels(image: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(image)))


def off(a: Any, b: Any) -> float:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.abs(a - b).max())


def shown(picker: ClassPicker) -> np.ndarray[Any, Any]:
    return pixels(picker.image.value)


def as_shown(images: Tensor, cols: int) -> np.ndarray[Any, Any]:
    return pixels(png(mosaic(images, cols)))


# Work in the background


def test_one_piece_of_work_at_a_time() -> None:
    background, go_on, ends = Background(), threading.Event(), []
    assert background.start(lambda: go_on.wait(PATIENCE) and None, ends.append)
    assert background.running
    assert not background.start(lambda: pytest.fail("a second run"), ends.append)
    go_on.set()
    assert background.wait(PATIENCE) and not background.running
    assert ends == [None]
    assert background.start(lambda: None, ends.append) and background.wait(PATIENCE)
    assert ends == [None, None]


def test_work_stops_when_it_next_asks() -> None:
    background, ends, turns = Background(), [], []
    asked, answered = threading.Event(), threading.Event()

    def work() -> None:
        for i in range(100):
            background.check()
            turns.append(i)
            if i == 2:
                asked.set()
                answered.wait(PATIENCE)

    background.start(work, ends.append)
    assert asked.wait(PATIENCE)
    background.stop()
    answered.set()
    assert background.wait(PATIENCE)
    assert turns == [0, 1, 2] and isinstance(ends[0], Stopped)
    # A stop of nothing does not stop what comes next.
    background.stop()
    background.start(background.check, ends.append)
    assert background.wait(PATIENCE) and ends[1] is None


def test_an_error_ends_the_work_and_no_more() -> None:
    background, ends = Background(), []
    background.start(lambda: 1 // 0, ends.append)  # type: ignore[arg-type, return-value]
    assert background.wait(PATIENCE)
    assert isinstance(ends[0], ZeroDivisionError)
    assert ends[0].__traceback__ is None  # it would keep every picture alive
    assert background.start(lambda: None, ends.append)


def test_all_work_is_done_in_one_thread() -> None:
    """A new thread for each would take memory of its own each time."""
    background, threads = Background(), []
    for _ in range(3):
        assert background.start(lambda: threads.append(threading.current_thread()), lambda _: None)
        assert background.wait(PATIENCE)
    assert len(set(threads)) == 1 and threads[0] is not threading.main_thread()


def test_in_colab_the_work_is_done_before_the_click_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    background, ends, threads = Background(), [], []
    assert background.start(lambda: threads.append(threading.current_thread()), ends.append)
    assert threads == [threading.main_thread()] and ends == [None]

    def interrupted() -> None:
        raise KeyboardInterrupt  # "Interrupt execution" in the menu

    assert background.start(interrupted, ends.append)
    assert isinstance(ends[1], KeyboardInterrupt) and not background.running


def test_the_picker_works_in_colab(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    picker = ClassPicker(model)
    click(picker.go)
    assert picker.images is not None and not picker.background.running
    assert "of class horse · seed 0" in picker.note.value


# Pictures as bytes


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_holds_every_pixel(channels: int) -> None:
    image = torch.rand(channels, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = to_uint8(image).permute(1, 2, 0).squeeze(-1).numpy()
    assert off(pixels(png(image)), expected) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mosaic_holds_every_picture_in_its_place(channels: int) -> None:
    images = torch.rand(5, channels, 4, 6, generator=torch.Generator().manual_seed(0))
    sheet = mosaic(images, 3, gap=2)
    assert sheet.shape == (4, 4 + 2 + 4, 6 + 2 + 6 + 2 + 6)
    assert torch.equal(sheet[:3, :4, 8:14], images[1].expand(3, -1, -1))
    assert torch.equal(sheet[:3, 6:, 8:14], images[4].expand(3, -1, -1))
    assert sheet[3].sum() == 5 * 4 * 6  # the rest, the missing picture too, is see-through
    assert sheet[3, 4:6].sum() == 0 and sheet[3, 6:, 16:].sum() == 0


def test_a_still_has_the_pictures_and_the_words() -> None:
    rows = [torch.full((3, 3, 8, 8), value) for value in (0.2, 0.6)]
    plain = {"row_names": ("a", "b"), "column_names": ("x", "y", "z")}
    short, long = still(rows, line="Why.", **plain), still(rows, line="Why. " * 40, **plain)
    a, b = pixels(short), pixels(long)
    for value in (51, 153):  # six times as large: 3 pictures of 48 x 48
        assert (a == value).all(-1).sum() == 3 * 48 * 48
    assert b.shape[0] > a.shape[0] and b.shape[1] == a.shape[1]
    named = still(rows, line="Why.", row_names=("", ""), column_names=("x", "y", "z"))
    assert off(pixels(named)[-20:], a[-20:]) == 0 and pixels(named).shape != b.shape
    assert (a[-24:] < 128).any(), "the line is not there"


# The class-picker: every control


def test_it_starts_with_the_defaults_of_the_function(model: Any) -> None:
    defaults = inspect.signature(generate_images).parameters
    settings = ClassPicker(model).settings()
    assert settings.pop("labels") == "horse"
    assert settings == {name: defaults[name].default for name in settings}
    assert len(settings) == 5


CONTROLS: list[tuple[str, str, Any, str]] = [
    ("number", "num_samples", 3, "generate_images(model, 3, "),
    ("guidance", "guidance_scale", 4.5, "guidance_scale=4.5"),
    ("steps", "steps", 7, "steps=7"),
    ("seed", "seed", 77, "seed=77"),
    ("sampler", "sampler", heun, "sampler=heun"),
    ("sampler", "sampler", ddim, "sampler=ddim"),
]


@pytest.mark.parametrize(("control", "name", "value", "words"), CONTROLS)
def test_each_control_does_what_it_says(
    model: Any, control: str, name: str, value: Any, words: str
) -> None:
    picker = ClassPicker(model)
    before = {**picker.settings(), "num_samples": 2, "steps": 5}
    move(picker.number, 2)
    move(picker.steps, 5)  # with fewer the samplers agree: there is no past to look back at
    run(picker)
    first = shown(picker)
    move(getattr(picker, control), value)
    assert picker.settings() == {**before, name: value}
    assert words in picker.code.value
    assert off(shown(picker), first) == 0, "a picture changed before Generate was pressed"
    run(picker)
    expected = generate_images(model, **{**before, name: value})
    assert picker.images is not None and off(picker.images, expected) == 0
    assert off(shown(picker), as_shown(expected, min(5, len(expected)))) == 0
    assert first.shape != shown(picker).shape or off(first, shown(picker)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_picked_by_its_card(model: Any, name: str) -> None:
    picker = ClassPicker(model)
    button = picker.choice.buttons[name]
    move(button, True) if not button.value else None
    assert picker.settings()["labels"] == name
    assert [n for n, b in picker.choice.buttons.items() if b.value] == [name]
    move(picker.number, 1)
    run(picker)
    assert picker.images is not None
    assert off(picker.images, generate_images(model, 1, labels=name)) == 0


def test_one_card_is_always_chosen(model: Any) -> None:
    picker = ClassPicker(model)
    picker.choice.buttons["horse"].set_state({"value": False})  # a click on the chosen one
    assert picker.choice.buttons["horse"].value and picker.settings()["labels"] == "horse"


def test_the_cards_show_the_classes(model: Any) -> None:
    picker = ClassPicker(model)
    assert list(picker.choice.buttons) == list(NAMES)
    for i, card in enumerate(picker.choice.box.children):
        image, button = card.children
        assert button.description == NAMES[i]
        assert off(pixels(image.value), pixels(png(picker.class_pictures[i]))) == 0
    plainly = {"seed": 12, "steps": 8, "guidance_scale": 4.0, "guidance_interval": (0.0, 1.0)}
    each = [
        generate_images(model, i + 1, labels=name, **plainly)[i] for i, name in enumerate(NAMES)
    ]
    assert off(picker.class_pictures, torch.stack(each)) < 1e-5


def test_the_line_of_code_makes_the_same_pictures(model: Any) -> None:
    picker = ClassPicker(model)
    for control, value in (("number", 4), ("steps", 4), ("guidance", 1.5), ("seed", 5)):
        move(getattr(picker, control), value)
    move(picker.sampler, heun)
    move(picker.choice.buttons["dog"], True)
    run(picker)
    names = {name: getattr(aetherfusion, name) for name in aetherfusion.__all__}
    again = eval(picker.code.value, {**names, "model": model})
    assert picker.images is not None and off(picker.images, again) == 0


def test_names_that_code_and_files_must_quote(tmp_path: Path) -> None:
    names = ["cat's", "cat/dog", 'so "called"', "größe"]
    model = made(4, class_names=tuple(names))
    picker = ClassPicker(model, folder=tmp_path)
    every = {name: getattr(aetherfusion, name) for name in aetherfusion.__all__}
    move(picker.number, 1)
    for name in names:
        move(picker.choice.buttons[name], True)
        run(picker)
        again = eval(picker.code.value, {**every, "model": model})
        assert picker.images is not None and off(picker.images, again) == 0
        click(picker.save)
    saved = ["cat-dog", "cat-s", "größe", "so-called"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{stem}-seed0.png" for stem in saved]


def test_new_seed(model: Any) -> None:
    picker = ClassPicker(model)
    seeds = []
    for _ in range(20):
        click(picker.new_seed)
        seeds.append(picker.seed.value)
        assert f"seed={picker.seed.value}" in picker.code.value
    assert len(set(seeds)) > 15 and all(0 <= seed < 10_000 for seed in seeds)
    move(picker.seed, 2**32 - 1)
    run(picker)


def test_noise_comes_first_and_the_picture_fills(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picker = ClassPicker(model)
    move(picker.number, 4)
    move(picker.steps, 12)
    frames: list[bytes] = []
    picker.image.observe(lambda change: frames.append(change["new"]), names="value")
    noise = to_unit(starting_noise(model, range(4), 0))
    monkeypatch.setattr(panel, "MOST_UPDATES", 10**9)  # every step, however fast
    run(picker)
    pictures = [pixels(frame) for frame in frames]
    assert off(pictures[0], as_shown(noise, 4)) == 0
    assert len(pictures) == 13  # the noise, which is also step 0, then 1 to 11 and the result
    distances = [np.abs(p.astype(float) - pictures[-1]).mean() for p in pictures]
    assert distances == sorted(distances, reverse=True) and distances[0] > 20
    assert picker.images is not None and off(pictures[-1], as_shown(picker.images, 4)) == 0
    assert picker.bar.value == picker.bar.max == 12


def test_before_the_first_run_there_is_noise_and_nothing_to_save(model: Any) -> None:
    picker = ClassPicker(model)
    assert off(shown(picker), as_shown(to_unit(starting_noise(model, range(10), 0)), 5)) == 0
    assert picker.save.disabled and picker.images is None and picker.halt.disabled
    assert "Generate" in picker.note.value
    picker.save_png()  # a click that was on its way
    assert picker.images is None


def test_stop_answers_within_one_step(model: Any, gate: Callable[[], Gate]) -> None:
    picker = ClassPicker(model)
    held = gate()
    click(picker.go)
    assert picker.go.disabled and not picker.halt.disabled
    held.let_through(3)
    for _ in range(4):
        held.wait_for_look()
    click(picker.halt)
    held.let_through()  # the look that was under way when Stop was pressed
    finish(picker)
    assert held.looks == 4, "it went on after Stop"
    assert "Stopped after 3 of 14 steps" in picker.note.value
    assert not picker.go.disabled and picker.halt.disabled
    held.open()
    run(picker)
    assert (
        picker.images is not None
        and off(picker.images, generate_images(model, labels="horse")) == 0
    )


def test_a_second_click_starts_no_second_run(model: Any, gate: Callable[[], Gate]) -> None:
    picker = ClassPicker(model)
    held = gate()
    click(picker.go)
    held.wait_for_look()
    threads = threading.active_count()
    for _ in range(5):
        picker.go._handle_custom_msg({"event": "click"}, [])  # clicks that were on their way
    picker.generate()
    assert threading.active_count() == threads
    held.let_through(14)
    finish(picker)
    assert held.looks == 14 and picker.bar.value == 14


def test_what_is_shown_is_what_was_asked_for(model: Any, gate: Callable[[], Gate]) -> None:
    """Controls moved while it works are for the next run."""
    picker = ClassPicker(model)
    held = gate()
    click(picker.go)
    held.wait_for_look()
    move(picker.seed, 9)
    move(picker.number, 2)
    move(picker.choice.buttons["cat"], True)
    held.open()
    finish(picker)
    assert (
        picker.images is not None
        and off(picker.images, generate_images(model, labels="horse")) == 0
    )
    assert "10 of class horse · seed 0" in picker.note.value
    assert 'model, 2, labels="cat", seed=9' in picker.code.value


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("shapes do not match"), "inside (RuntimeError): shapes do not match"),
        (ValueError("labels must be in [0, 4)"), "Labels must be in [0, 4)"),
        (torch.OutOfMemoryError("CUDA"), "The memory is full. Ask for fewer images."),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("<script>"), "&lt;script&gt;"),
    ],
)
def test_an_error_is_told_in_plain_words(model: Any, error: Exception, words: str) -> None:
    picker = ClassPicker(model)

    def fail(*_: Any) -> None:
        raise error

    hook = model.register_forward_pre_hook(fail)
    click(picker.go)
    assert picker.background.wait(PATIENCE)
    assert words in picker.note.value and "aether-wrong" in picker.note.value
    assert "Traceback" not in picker.note.value and picker.error is error
    assert not picker.go.disabled and picker.halt.disabled
    hook.remove()
    run(picker)
    assert "aether-wrong" not in picker.note.value


def test_save_as_png(model: Any, tmp_path: Path) -> None:
    picker = ClassPicker(model, folder=tmp_path / "new")
    run(picker)
    click(picker.save)
    first = tmp_path / "new" / "horse-seed0.png"
    assert first.exists() and str(first) in picker.note.value
    assert picker.images is not None
    expected = save_images(picker.images, tmp_path / "expected.png", cols=5)
    assert first.read_bytes() == expected.read_bytes()
    click(picker.save)
    assert (
        tmp_path / "new" / "horse-seed0-2.png"
    ).exists() and "horse-seed0-2" in picker.note.value
    assert first.read_bytes() == expected.read_bytes()
    # Where it cannot be written.
    picker.folder = first
    click(picker.save)
    assert "Not saved." in picker.note.value and "aether-wrong" in picker.note.value
    assert sorted(p.name for p in first.parent.iterdir()) == [
        "horse-seed0-2.png",
        "horse-seed0.png",
    ]


@pytest.mark.parametrize(
    ("number", "columns"),
    [(1, 1), (4, 4), (5, 5), (6, 3), (8, 4), (10, 5), (11, 5), (12, 4), (20, 5)],
)
def test_rows_are_whole_where_they_can_be(model: Any, number: int, columns: int) -> None:
    picker = ClassPicker(model)
    move(picker.number, number)
    move(picker.steps, 1)
    run(picker)
    rows = -(-number // columns)
    assert shown(picker).shape == (rows * 17 - 1, columns * 17 - 1, 4)


def test_any_number_of_classes() -> None:
    many = ClassPicker(made(30, None))
    move(many.choice, "29")
    run(many)
    assert 'labels="29"' in many.code.value
    none = ClassPicker(made(0, None))
    assert "labels=None" in none.code.value
    run(none)
    assert "of class any" in none.note.value
    assert list(ClassPicker(made(10, None)).choice.buttons)[6] == "frog"


# The other three


def test_the_scrubber_shows_the_trajectory(model: Any) -> None:
    scrubber = DenoisingScrubber(model)
    move(scrubber.choice, "dog")
    move(scrubber.steps, 6)
    move(scrubber.guidance, 1.5)
    move(scrubber.seed, 4)
    run(scrubber)
    way = denoising_trajectory(model, labels="dog", steps=6, guidance_scale=1.5, seed=4)
    assert scrubber.step.max == 6 and len(scrubber.way) == 7
    for i in range(7):
        move(scrubber.step, i) if scrubber.step.value != i else None
        x0 = way.x0_hat[i, 0] if i < 6 else way.xt[6, 0]
        assert off(pixels(scrubber.seen.value), pixels(png(to_unit(way.xt[i, 0])))) == 0
        assert off(pixels(scrubber.guess.value), pixels(png(to_unit(x0)))) == 0
        assert f"step {i} · t = {float(way.times[i]):.2f}" in scrubber.where.value
    assert "finished" in scrubber.where.value


def test_play_moves_the_slider_in_the_browser(model: Any) -> None:
    scrubber = DenoisingScrubber(model)
    play, slider = scrubber.play, scrubber.step
    links = {(link.source, link.target) for link in scrubber._links}
    assert links == {((play, "value"), (slider, "value")), ((slider, "max"), (play, "max"))}
    assert play.max == slider.max == 14 and play.interval >= 100


def test_a_stopped_walk_can_be_scrubbed(model: Any, gate: Callable[[], Gate]) -> None:
    scrubber = DenoisingScrubber(model)
    held = gate()
    click(scrubber.go)
    held.let_through(4)
    for _ in range(5):
        held.wait_for_look()
    click(scrubber.halt)
    held.let_through()
    finish(scrubber)
    assert "Stopped after 4 of 14" in scrubber.note.value
    last = pixels(png(scrubber.way[-1][1]))
    for i in (14, 3, 0, 13):
        move(scrubber.step, i) if scrubber.step.value != i else None
        assert scrubber.where.value
    assert len(scrubber.way) == 5 and off(pixels(scrubber.seen.value), last) == 0


def test_a_walk_that_fails_at_once_leaves_the_last_one(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubber = DenoisingScrubber(model)
    before = scrubber.picture("as it was")

    def full(*_: object) -> None:
        raise MemoryError

    hook = model.register_forward_pre_hook(full)
    click(scrubber.go)
    assert scrubber.background.wait(PATIENCE)
    hook.remove()
    assert "memory is full" in scrubber.note.value
    assert scrubber.picture("as it was") == before


def test_the_guidance_sheet_keeps_its_labels_while_it_is_made(
    model: Any, gate: Callable[[], Gate]
) -> None:
    explorer = GuidanceExplorer(model)
    held = gate()
    click(explorer.go)
    held.wait_for_look()
    before = explorer.scales
    explorer.range.set_state({"value": [0.0, 9.0]})
    explorer.generate()  # refused: it is at work
    assert explorer.scales == before
    held.open()
    finish(explorer)
    for scale in before:
        assert f"<div>{scale:g}</div>" in explorer.side.value


def test_the_guidance_sheet_starts_every_picture_at_the_same_noise(model: Any) -> None:
    explorer = GuidanceExplorer(model)
    explorer.range.set_state({"value": [0.5, 5.0]})
    move(explorer.steps, 3)
    move(explorer.seed, 6)
    run(explorer)
    assert explorer.scales == [0.5, 2.0, 3.5, 5.0]
    for row, scale in zip(explorer.rows, explorer.scales, strict=True):
        for i, name in enumerate(NAMES):
            options = {"labels": name, "seed": 6, "steps": 3, "guidance_scale": scale}
            alone = generate_images(model, 1, guidance_interval=(0.0, 1.0), **options)[0]
            # Guidance multiplies the rounding of its two estimates, scale and 1 - scale times.
            assert off(row[i], alone) < 1e-5 * (scale + abs(1 - scale))
        assert str(f"<div>{scale:g}</div>") in explorer.side.value
    assert off(pixels(explorer.image.value), as_shown(torch.cat(explorer.rows), 4)) == 0
    assert explorer.bar.value == explorer.bar.max == 12


def test_the_guidance_sheet_fills_row_by_row(
    model: Any, gate: Callable[[], Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "MOST_UPDATES", 10**9)  # every step, however fast
    explorer = GuidanceExplorer(model)
    held = gate()
    click(explorer.go)
    held.let_through(11)  # the eight of the first row and three of the second
    for _ in range(12):
        held.wait_for_look()
    click(explorer.halt)
    held.let_through()
    finish(explorer)
    assert "Stopped after 11 of 32" in explorer.note.value
    held.open()
    assert off(explorer.rows[0], explorer._row(1.0, {"seed": 0, "steps": 8})) == 0
    assert explorer.rows[1].min() < 1 and explorer.rows[2].min() == 1  # white: not yet begun


def recorded(model: Any, xt: Tensor, t: Tensor, labels: Tensor) -> list[Tensor]:
    """The attention of each block as it is used while the model looks, on the path of training."""
    found: list[Tensor] = []
    weights = MultiHeadSelfAttention.weights

    def keep(q: Tensor, k: Tensor) -> Tensor:
        found.append(weights(q, k).detach())
        return weights(q, k)

    MultiHeadSelfAttention.weights = staticmethod(keep)
    try:
        with torch.enable_grad():
            model(xt, t, labels)
    finally:
        MultiHeadSelfAttention.weights = staticmethod(weights)
    return found


def test_the_attention_is_the_one_in_use(model: Any) -> None:
    explorer = AttentionExplorer(model)
    move(explorer.choice, "cat")
    move(explorer.seed, 8)
    run(explorer)
    way = denoising_trajectory(model, labels="cat", seed=8)
    for step in (0, 6, 13):
        t = way.times[step].float()[None]
        for block, maps in enumerate(recorded(model, way.xt[step], t, torch.tensor([0]))):
            assert off(explorer.maps[block, step], maps[0]) < 1e-5
    assert explorer.maps.shape == (2, 14, 2, 16, 16)


def test_every_chooser_of_the_attention_changes_what_is_lit(model: Any) -> None:
    explorer = AttentionExplorer(model)
    before = explorer.heard.value
    for control, value in (
        (explorer.block, 1),
        (explorer.head, 1),
        (explorer.head, 0),
        (explorer.step, 3),
        (explorer.row, 0),
        (explorer.column, 3),
    ):
        move(control, value)
        assert explorer.heard.value != before
        before = explorer.heard.value
    weights = explorer.maps[1, 3, 0, 3]  # row 0, column 3 of a 4 x 4 grid
    row, column = divmod(int(weights.argmax()), 4)
    assert (
        f"listens most to row {row}, column {column}: {weights.max():.0%}" in explorer.where.value
    )
    # The cell listened to most is as bright as the estimate; the frame is around the one that asks.
    lit = pixels(explorer.heard.value).reshape(4, 32, 4, 32, 3)
    assert [tuple(lit[0, 0, 3, 0]), tuple(lit[0, 31, 3, 31])] == [(255, 115, 0)] * 2
    way = denoising_trajectory(model, labels="horse")
    plain = to_uint8(to_unit(way.x0_hat[3, 0])).permute(1, 2, 0).numpy().reshape(4, 4, 4, 4, 3)
    share = lit[:, 16, :, 16].astype(float) / plain[:, 2, :, 2].clip(1)  # in the middle of cells
    seen = plain[:, 2, :, 2] > 60
    assert abs(share[row, column][seen[row, column]] - 1).max() < 0.02
    assert share[seen].max() < 1.02 and share[seen].min() > 0.14


def test_the_mean_of_the_heads(model: Any) -> None:
    explorer = AttentionExplorer(model)
    step, cell = explorer.step.value, 2 * 4 + 2
    mean = explorer.maps[0, step, :, cell].mean(0)
    assert explorer.head.value == -1
    assert f"{mean.max():.0%} of its attention" in explorer.where.value


def test_every_cell_can_be_clicked(model: Any) -> None:
    explorer = AttentionExplorer(model)
    assert len(explorer.cells) == 16
    for i, cell in enumerate(explorer.cells):
        click(cell)
        assert (explorer.row.value, explorer.column.value) == divmod(i, 4)
        assert cell.description == f"row {i // 4}, column {i % 4}"


def test_two_widgets_may_use_one_model_at_once(model: Any, gate: Callable[[], Gate]) -> None:
    xt = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs = xt, torch.tensor([0.5]), torch.tensor([1])
    expected = attention_on_the_way(model, *inputs)
    picker, stop, wrong = ClassPicker(model), threading.Event(), []
    move(picker.steps, 60)

    def look() -> None:
        while not stop.is_set():
            wrong.append(off(attention_on_the_way(model, *inputs), expected))

    watcher = threading.Thread(target=look)
    watcher.start()
    run(picker)
    stop.set()
    watcher.join(PATIENCE)
    assert wrong and max(wrong) == 0


# What all have in common


@every
def test_it_stops_and_runs_again(model: Any, widget: Any, gate: Callable[[], Gate]) -> None:
    made = widget(model)
    held = gate()
    click(made.go)
    held.wait_for_look()
    assert made.go.disabled and not made.halt.disabled and made.background.running
    click(made.halt)
    held.let_through()
    finish(made)
    assert held.looks == 1 and "Stopped after 0 of" in made.note.value
    held.open()
    run(made)
    assert not made.go.disabled and made.halt.disabled
    assert made.bar.value == made.bar.max


@every
def test_an_error_shows_in_it(model: Any, widget: Any) -> None:
    made = widget(model)

    def fail(*_: Any) -> None:
        raise ValueError("the model is tired")

    model.register_forward_pre_hook(fail)
    click(made.go)
    assert made.background.wait(PATIENCE)
    assert "The model is tired" in made.note.value and not made.go.disabled


def widgets_in(widget: Any) -> list[Any]:
    found = [widget]
    for child in getattr(widget, "children", ()):
        found += widgets_in(child)
    return found


@every
def test_it_needs_only_the_controls_that_every_front_end_has(model: Any, widget: Any) -> None:
    parts = widgets_in(widget(model).box)
    assert {part._model_module for part in parts} == {"@jupyter-widgets/controls"}
    assert {type(part).__name__ for part in parts} <= {
        # All of ipywidgets 7.7; `Output` is left out, as not every front end shows it.
        "Box", "HBox", "VBox", "HTML", "Image", "Button", "ToggleButton", "ToggleButtons", "Text",
        "IntSlider", "FloatSlider", "FloatRangeSlider", "BoundedIntText", "Dropdown", "Play",
        "IntProgress",
    }  # fmt: skip


@every
def test_every_control_has_a_name(model: Any, widget: Any) -> None:
    for part in widgets_in(widget(model).box):
        kind = type(part).__name__
        if kind not in ("Box", "HBox", "VBox", "HTML", "Image", "Play", "IntProgress"):
            assert part.description, kind


@every
def test_a_cell_shows_the_still_and_then_the_widget(
    model: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = displayed(widget(model), monkeypatch)
    (still, metadata), (view, _) = outputs
    assert set(still) == {"text/html", "image/png", "text/plain"}
    assert still["text/plain"] == view["text/plain"] == widget.__name__  # the same every time
    assert NOT_RUNNING in metadata["image/png"]["alt"]
    assert f"data:image/png;base64,{still['image/png']}" in still["text/html"]
    assert view["application/vnd.jupyter.widget-view+json"]["version_major"] == 2


def displayed(widget: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    import IPython.display

    outputs: list[Any] = []
    monkeypatch.setattr(
        IPython.display,
        "display",
        lambda data, *, raw, metadata=None: outputs.append((data, metadata)),
    )
    widget._ipython_display_()
    return outputs


@every
def test_the_style_of_a_living_panel_hides_its_own_still(
    model: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = widget(model), widget(model)
    (still, _), _ = displayed(one, monkeypatch)
    name = still["text/html"].split('"')[1]
    assert f".{name} {{ display: none }}" in one.box.children[0].value
    assert name not in other.box.children[0].value


@every
def test_without_ipywidgets_there_is_a_picture_and_the_reason(
    model: Any, widget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    made = widget(model)
    assert made.box is None
    assert repr(made) == f"{widget.__name__}: {NOT_INSTALLED}"
    ((still, metadata),) = displayed(made, monkeypatch)
    assert still["text/plain"] == repr(made) and NOT_INSTALLED in metadata["image/png"]["alt"]
    height, width, _ = pixels(made._repr_png_()).shape
    assert height > 60 and width > 500


@every
def test_the_pretrained_model_is_the_default(
    model: Any, widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "load_pretrained", lambda: model)
    assert widget().model is model


def test_memory_does_not_grow() -> None:
    """Over 50 generations, after ten to settle: no more objects, threads or megabytes."""
    psutil = pytest.importorskip("psutil", reason="comes with ipykernel")
    picker = ClassPicker(made())
    move(picker.steps, 4)
    process = psutil.Process()

    def counted() -> tuple[int, int, int]:
        gc.collect()
        tensors = sum(isinstance(thing, Tensor) for thing in gc.get_objects())
        return process.memory_info().rss, threading.active_count(), tensors

    for _ in range(10):
        run(picker)
    rss, threads, tensors = counted()
    for seed in range(50):
        move(picker.seed, seed)
        run(picker)
    assert counted()[1:] == (threads, tensors)
    assert counted()[0] - rss < 8_000_000


# In a kernel

MAKE = """
import os, threading, torch
from aetherfusion import DiffusionTransformerUNet
from aetherfusion.widgets import ClassPicker
torch.manual_seed(0)
model = DiffusionTransformerUNet(image_size=16, embedding_dim=8, num_heads=2, depth=1)
picker = ClassPicker(model)
gate = threading.Semaphore(0)
model.register_forward_pre_hook(lambda *_: gate.acquire(timeout=60) and None)
print(*(part.model_id for part in (picker.go, picker.halt, picker.image, picker.bar, picker.note)))
picker
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    manager = pytest.importorskip("jupyter_client.manager")
    km, client = manager.start_new_kernel(
        kernel_name="python3", startup_timeout=PATIENCE, env=kernel_environment()
    )
    yield client
    client.stop_channels()
    km.shutdown_kernel(now=True)


def kernel_environment() -> dict[str, str]:
    import os

    root = str(Path(aetherfusion.__file__).parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def execute(client: Any, code: str) -> tuple[str, list[dict[str, Any]]]:
    """What a cell prints and displays."""
    printed, outputs = [], []

    def keep(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif message["msg_type"] in ("display_data", "execute_result"):
            outputs.append(content["data"])

    reply = client.execute_interactive(code, timeout=PATIENCE, output_hook=keep)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed), outputs


def send_click(client: Any, widget: str) -> None:
    data = {"method": "custom", "content": {"event": "click"}}
    message = client.session.msg("comm_msg", {"comm_id": widget, "data": data})
    client.shell_channel.send(message)


def updates(client: Any, widget: str, trait: str, until: Callable[[Any], bool]) -> list[Any]:
    """The values of a trait that the kernel tells the page of, until one will do."""
    found: list[Any] = []
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        content = message["content"]
        if message["msg_type"] != "comm_msg" or content["comm_id"] != widget:
            continue
        data = content["data"]
        if data.get("method") != "update":
            continue
        if trait in data.get("state", {}):
            value = data["state"][trait]
        elif [trait] in data.get("buffer_paths", []):
            value = bytes(message["buffers"][data["buffer_paths"].index([trait])])
        else:
            continue
        found.append(value)
        if until(value):
            return found


def test_a_kernel_stays_alive_while_it_generates(kernel: Any) -> None:
    printed, outputs = execute(kernel, MAKE)
    go, halt, image, bar, note = printed.split()
    assert [set(output) for output in outputs] == [
        {"text/html", "image/png", "text/plain"},
        {"application/vnd.jupyter.widget-view+json", "text/plain"},
    ]
    execute(kernel, "picker.seed.value = 1")  # the noise of seed 0 is there already
    send_click(kernel, go)
    first = updates(kernel, image, "value", lambda value: True)
    assert pixels(first[0]).shape == (33, 84, 4)  # noise, before the model's first look
    # Cells run while it works.
    assert execute(kernel, "print(picker.background.running)")[0] == "True\n"
    kernel.execute("gate.release(3)")  # unlike `execute`, which would take the messages
    updates(kernel, bar, "value", lambda value: value == 3)
    send_click(kernel, go)  # changes nothing
    send_click(kernel, halt)
    kernel.execute("gate.release(1)")
    said = updates(kernel, note, "value", lambda value: "Stopped" in value)
    assert "Stopped after 3 of 14 steps" in said[-1]
    kernel.execute("gate.release(14)")
    send_click(kernel, go)
    said = updates(kernel, note, "value", lambda value: "seed 1" in value)
    assert "aether-wrong" not in said[-1]
    printed, _ = execute(kernel, "print(picker.error, picker.bar.value, gate._value)")
    assert printed == "None 14 0\n"


def test_a_notebook_keeps_a_picture(tmp_path: Path) -> None:
    """What `nbconvert` and GitHub show: the still, as the widget is not there."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    source = MAKE.replace("gate = ", "gate = None and ").replace(
        "model.register", "0 and model.register"
    )
    source = "\n".join(line for line in source.splitlines() if not line.startswith("print"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client = nbclient.NotebookClient(
        notebook, timeout=PATIENCE, kernel_name="python3", store_widget_state=False
    )
    client.execute(env=kernel_environment())
    still, view = notebook.cells[0].outputs
    assert still.output_type == view.output_type == "display_data"
    assert still.data["text/plain"] == view.data["text/plain"] == "ClassPicker"
    assert NOT_RUNNING in still.metadata["image/png"]["alt"]
    exporter = pytest.importorskip("nbconvert").HTMLExporter()
    page, _ = exporter.from_notebook_node(notebook)
    assert f"ClassPicker: {NOT_RUNNING}" in page and still.data["image/png"][:40] in page
