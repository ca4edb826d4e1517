"""The page of `aetherfusion picker` in Chromium: what it shows and says, and how it is used.

The model is tiny. What is shown is compared with what the line of Python on the page makes, so
nothing depends on how good the images are. Screenshots: $AETHERFUSION_SCREENSHOTS.
"""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import (
    chromium,  # noqa: F401
    expect,
    free_port,
    new_page,
    screenshots,  # noqa: F401
    server,
)
from PIL import Image

import aetherfusion
from aetherfusion import (
    DiffusionTransformerUNet,
    denoising_trajectory,
    load_cifar10,
    save_model,
)
from aetherfusion.data import find_cifar10, to_uint8, to_unit
from aetherfusion.evaluation import nearest_pictures
from aetherfusion.generation import starting_noise

DONE = re.compile(r" in \d+\.\d s\.$")
SIZES = {
    "projector": (1920, 1080),
    "laptop": (1280, 720),
    "small": (800, 600),
    "zoomed": (960, 540),  # 1920 by 1080 at 200 %
    "phone": (390, 844),
}


class OnPage:
    """The page, by the names of its parts."""

    def __init__(self, page: Any, url: str, **config: Any) -> None:
        self.page, self.model = page, tiny_model(**config)
        self.requests: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.goto(url)
        expect(self["status"]).to_have_text("This is noise. Pick a class and press Generate.")

    def __getitem__(self, name: str) -> Any:
        return self.page.locator(f"#{name}")

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name).first

    def setting(self, name: str) -> Any:
        return self.page.locator(f"#form [name={name}]")

    def pick(self, name: str) -> None:
        self["classes"].get_by_text(name, exact=True).click()

    def generate(self, button: str = "Generate") -> None:
        self.page.evaluate("() => { document.getElementById('status').textContent = ''; }")
        self.button(button).click()
        expect(self["status"]).to_have_text(DONE)

    def ask_for_much(self) -> None:
        """Begins a run of some seconds."""
        for name, value in (("num_samples", 20), ("steps", 60), ("sampler", "heun")):
            self.setting(name).evaluate(f"input => {{ input.value = '{value}'; }}")
        self.button("Generate").click()
        expect(self.button("Stop")).to_be_enabled()

    def images(self, grid: str = "xt") -> np.ndarray[Any, Any]:
        """What the canvases hold, (N, H, W, 3) bytes."""
        found = self.page.evaluate(
            "grid => [...document.querySelectorAll(`#${grid} canvas`)].map(c => c.toDataURL())",
            grid,
        )
        return np.stack([read_png(url) for url in found])

    def expected(self) -> np.ndarray[Any, Any]:
        """What the line of Python on the page makes."""
        names = {name: getattr(aetherfusion, name) for name in aetherfusion.__all__}
        made = eval(self["code"].input_value(), {**names, "model": self.model})
        parts = made if isinstance(made, list) else [made]
        return np.concatenate([as_bytes(part) for part in parts])


def tiny_model(**config: Any) -> DiffusionTransformerUNet:
    """Of CIFAR-10's classes if nothing else is said; its images are no flat grey."""
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(embedding_dim=8, num_heads=2, depth=1, **config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def read_png(url: str) -> np.ndarray[Any, Any]:
    data = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def as_bytes(images: Any) -> np.ndarray[Any, Any]:
    return to_uint8(images).permute(0, 2, 3, 1).numpy()  # (N, H, W, C)


def assert_same(shown: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert shown.shape == expected.shape
    for i, (one, other) in enumerate(zip(shown, expected, strict=True)):
        # Another number of threads adds up in another order; other noise would differ by 50.
        assert np.abs(one.astype(float) - other).mean() < 1, f"image {i} is another one"


@contextmanager
def served(folder: Path, **config: Any) -> Iterator[tuple[str, int]]:
    """The address of the page for a tiny model, and its process id."""
    port, weights = free_port(), str(save_model(tiny_model(**config), folder / "tiny.safetensors"))
    command = ["aetherfusion", "picker", "--no-browser", "--port", str(port), "--weights", weights]
    with server(command, port, folder) as process:
        while "Serving" not in (log := (folder / "server.log").read_text()):
            time.sleep(0.1)
        yield log.split()[1], process


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served(tmp_path_factory.mktemp("picker")) as address:
        yield address


@pytest.fixture(scope="module")
def picker(site: Any, chromium: Any) -> Iterator[OnPage]:
    with new_page(chromium) as page:
        page.set_viewport_size({"width": 1920, "height": 1080})
        picker = OnPage(page, site[0])
        yield picker
        assert page.errors == []
        origin = site[0].partition("/?")[0]
        for url in picker.requests:
            assert url.replace("ws://", "http://").startswith((f"{origin}/", "data:")), url


# Images


def test_a_class_is_picked_and_appears(picker: OnPage, screenshots: Path) -> None:
    noise = starting_noise(tiny_model(), range(10), 0)
    assert_same(picker.images(), as_bytes(to_unit(noise)))
    picker.page.screenshot(path=screenshots / "page-1-noise.png")
    picker.pick("frog")
    picker.setting("steps").fill("8")
    picker.generate()
    expect(picker["status"]).to_contain_text("10 images of frog, seed 0")
    assert 'labels="frog"' in picker["code"].input_value()
    assert_same(picker.images(), picker.expected())
    picker.page.screenshot(path=screenshots / "page-2-frog.png")


def test_the_slider_goes_back_through_all_steps(picker: OnPage, screenshots: Path) -> None:
    options: Any = {"labels": "frog", "guidance_scale": 3.5, "steps": 8, "seed": 0}
    expected = denoising_trajectory(tiny_model(), 10, **options)
    picker["estimate"].check()
    picker["step"].focus()
    picker.page.keyboard.press("Home")
    for k in range(9):
        expect(picker["when"]).to_have_text(re.compile(f"Step {k} of 8" if k else "Pure noise"))
        assert_same(picker.images("xt"), as_bytes(to_unit(expected.xt[k])))
        x0_hat = expected.x0_hat[k] if k < 8 else expected.xt[8]
        assert_same(picker.images("x0"), as_bytes(to_unit(x0_hat)))
        if k == 4:
            picker.page.screenshot(path=screenshots / "page-3-estimate.png")
        picker.page.keyboard.press("ArrowRight")
    picker["estimate"].uncheck()
    picker.page.evaluate(
        """() => {
            window.seen = [];
            const note = () => window.seen.push(step.value);
            new MutationObserver(note).observe($("when"), {childList: true});
        }"""
    )
    picker["play"].click()  # from the beginning, as the slider is at the end
    expect(picker["play"]).to_have_text("Pause")
    expect(picker["play"]).to_have_text("Play")
    assert picker.page.evaluate("() => window.seen") == [str(k) for k in range(9)]


@pytest.mark.parametrize(
    ("button", "number", "captions"),
    [
        ("Same noise, all classes", 10, ["airplane", "truck"]),
        ("Steer it", 10, ["guidance 0", "guidance 8"]),
        ("Steer all classes", 50, ["airplane, 0", "truck, 8"]),
    ],
)
def test_the_same_noise(
    picker: OnPage, button: str, number: int, captions: list[str], screenshots: Path
) -> None:
    picker.setting("steps").fill("1" if number == 50 else "3")
    picker.setting("num_samples").fill("2")
    picker.generate(button)
    shown = picker["xt"].locator("span")
    expect(shown).to_have_count(number)
    assert [shown.first.inner_text(), shown.last.inner_text()] == captions
    assert_same(picker.images(), picker.expected())
    if "classes" in button:  # all of a row began with one noise
        picker["step"].focus()
        picker.page.keyboard.press("Home")
        noise = picker.images()
        assert (noise == noise[0]).all()
    picker.page.screenshot(path=screenshots / f"page-4-{number}-{captions[0][:8]}.png")


def test_stop_midway(picker: OnPage) -> None:
    picker.ask_for_much()
    expect(picker["when"]).to_contain_text("of 60")
    picker.button("Stop").click()
    expect(picker["status"]).to_have_text(re.compile(r"Stopped after \d+ of 60 steps\."))
    before = picker.images()
    picker.page.wait_for_timeout(700)
    assert (picker.images() == before).all(), "it went on after Stop"
    expect(picker.button("Stop")).to_be_disabled()
    picker.setting("num_samples").fill("10")
    picker.setting("sampler").select_option("dpmpp_2m")
    picker.setting("steps").fill("2")
    picker.generate()
    assert_same(picker.images(), picker.expected())


def test_a_seed_is_used_as_typed_or_refused(picker: OnPage) -> None:
    before = picker.images()
    for typed in ("12a", "", "-3", "1.5", "4294967296"):
        picker.setting("seed").fill(typed)
        picker.setting("seed").press("Enter")
        expect(picker["status"]).to_contain_text("Seed must be a whole number from 0 to 4294967295")
        expect(picker.setting("seed")).to_have_attribute("aria-invalid", "true")
    assert (picker.images() == before).all()
    picker.setting("seed").fill("4294967295")
    picker.generate()
    expect(picker["status"]).to_contain_text("seed 4294967295")
    expect(picker.setting("seed")).to_have_attribute("aria-invalid", "false")
    assert "seed=4294967295" in picker["code"].input_value()
    assert_same(picker.images(), picker.expected())
    picker.button("New seed").click()
    assert re.fullmatch(r"\d{1,4}", picker.setting("seed").input_value())


def test_an_image_is_enlarged_and_saved(picker: OnPage, screenshots: Path) -> None:
    picker.pick("ship")
    picker.setting("seed").fill("3")
    picker.generate()
    images = picker.images()
    with picker.page.expect_download() as download:
        picker["save"].click()
    assert download.value.suggested_filename == "ship-seed-3.png"
    sheet = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert sheet.shape[:2] == (2 * 264 - 8, 5 * 264 - 8)
    for i, image in enumerate(images):
        top, left = (264 * place for place in divmod(i, 5))
        assert (sheet[top : top + 256 : 8, left : left + 256 : 8] == image).all()

    picker["xt"].get_by_role("button").nth(4).click()
    zoom = picker["zoom"]
    expect(zoom).to_be_visible()
    expect(picker["title"]).to_have_text("ship · seed 3 · image 5")
    with picker.page.expect_download() as download:
        zoom.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "ship-seed-3-image-5.png"
    saved = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert saved.shape == (256, 256, 3) and (saved[::8, ::8] == images[4]).all()
    if find_cifar10() is not None:
        expect(picker["nearest"].locator("canvas")).to_have_count(3)
        training = load_cifar10(download=False).images
        image = torch.from_numpy(images[4].copy()).permute(2, 0, 1) / 255
        gap, index = nearest_pictures(image[None], training)
        first = picker["nearest"].locator("canvas").first.evaluate("c => c.toDataURL()")
        assert (read_png(first) == training[int(index)].permute(1, 2, 0).numpy()).all()
        expect(picker["nearest"].locator("span").first).to_contain_text(f"{float(gap):.2f} away")
    picker.page.screenshot(path=screenshots / "page-5-enlarged.png")
    picker.page.keyboard.press("Escape")
    expect(zoom).to_be_hidden()


def test_the_line_of_python_is_copied(picker: OnPage) -> None:
    picker.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    picker["copy"].click()
    copied = picker.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == picker["code"].input_value()


# Hands and eyes


def test_everything_is_within_reach_of_the_keyboard(picker: OnPage) -> None:
    page, keyboard = picker.page, picker.page.keyboard
    picker.setting("seed").fill("3")
    picker.generate()
    picker["play"].focus()
    keyboard.press("Shift+Tab")
    reached: list[str] = []
    for _ in range(60):
        keyboard.press("Tab")
        found, ring = page.evaluate(
            """() => {
                const at = document.activeElement, box = at.closest("#classes label") || at;
                const style = getComputedStyle(box);
                const name = at.name || at.id || at.textContent.trim().split(/\\s{2,}/)[0];
                return [name, `${style.outlineStyle} ${style.outlineWidth}`];
            }"""
        )
        reached.append(found)
        assert ring == "solid 3px", f"{found} shows no focus"
        if found == "copy":
            break
    order = ["play", "step", "estimate", "save", "label", "Generate", "seed", "new-seed"]
    order += ["Same noise, all classes", "Steer it", "Steer all classes", "Settings"]
    order += ["num_samples", "guidance_scale", "steps", "sampler", "code", "copy"]
    assert reached == order
    picker.setting("label").nth(8).focus()
    keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="truck")).to_be_checked()
    expect(page.get_by_role("radio", name="ship")).not_to_be_checked()
    picker.setting("steps").focus()
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    expect(picker["status"]).to_contain_text("10 images of truck, seed 3, in")
    assert "steps=2," in picker["code"].input_value()
    assert_same(picker.images(), picker.expected())


def test_what_matters_is_on_the_first_screen(
    site: Any, chromium: Any, picker: OnPage, screenshots: Path
) -> None:
    for name, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            with new_page(chromium, viewport={"width": width, "height": height}) as page:
                page.emulate_media(color_scheme=scheme)
                small = OnPage(page, site[0])
                if scheme == "light":
                    for stage in ("empty", "full"):
                        if stage == "full":
                            small.setting("steps").evaluate("input => { input.value = 1; }")
                            small.generate()
                        boxes = [box.bounding_box() for box in small["xt"].locator("canvas").all()]
                        area = sum(box["width"] * box["height"] for box in boxes)
                        share = area / width / height
                        print(f"{name} {stage}: {share:.0%} of the screen")
                        assert share >= (0.45 if name == "projector" else 0.2)
                        boxes += [
                            box.bounding_box() for box in small["classes"].locator("label").all()
                        ]
                        boxes.append(small.button("Generate").bounding_box())
                        for box in boxes:
                            assert box["x"] >= 0 and box["x"] + box["width"] <= width
                            assert box["y"] >= 0 and box["y"] + box["height"] <= height
                        sideways = page.evaluate("() => document.documentElement.scrollWidth")
                        assert sideways <= width, "the page scrolls sideways"
                    folded = page.locator("details").get_attribute("open") is None
                    assert folded == (name != "projector")
                page.screenshot(path=screenshots / f"page-6-{name}-{scheme}.png")


@pytest.mark.parametrize(
    ("size", "media"),
    [
        ("projector", {}),
        ("phone", {}),
        ("laptop", {"color_scheme": "dark"}),
        ("laptop", {"forced_colors": "active"}),
    ],
)
def test_axe_finds_nothing(
    picker: OnPage, size: str, media: dict[str, Any], screenshots: Path
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs the extra 'test'"
    )
    page = picker.page
    page.emulate_media(**media)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    try:
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert len(found.response["passes"]) > 20, "it has looked at nothing"
        picker["xt"].get_by_role("button").first.click()
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.screenshot(path=screenshots / f"page-7-{size}-{'-'.join(media.values())}.png")
    finally:
        page.keyboard.press("Escape")
        page.emulate_media(color_scheme="light", forced_colors="none")
        page.set_viewport_size({"width": 1920, "height": 1080})


def test_a_grey_model_of_many_classes(chromium: Any, tmp_path: Path, screenshots: Path) -> None:
    config = {"channels": 1, "image_size": 16, "num_classes": 25}
    with served(tmp_path, **config) as (url, _), new_page(chromium) as page:
        picker = OnPage(page, url, **config)
        picker.setting("label").select_option("24")
        picker.generate()
        expect(picker["status"]).to_contain_text("10 images of 24, seed 0")
        assert_same(picker.images(), np.repeat(picker.expected(), 3, axis=3))
        picker.generate("Same noise, all classes")
        assert len(picker.images()) == 20
        page.screenshot(path=screenshots / "page-9-many-classes.png")
        assert page.errors == []


# Others, and accidents


def test_a_second_page_waits_until_the_first_is_closed(
    site: Any, chromium: Any, picker: OnPage
) -> None:
    with new_page(chromium) as page:
        first = OnPage(page, site[0])
        first.ask_for_much()
        picker.setting("steps").fill("1")
        picker.button("Generate").click()
        expect(picker["status"]).to_contain_text("1 before you")
        expect(first["queue"]).to_have_text("1 waiting")
    expect(picker["status"]).to_have_text(DONE, timeout=20_000)


def test_a_lost_connection_is_made_again_or_said(
    site: Any, picker: OnPage, screenshots: Path
) -> None:
    page = picker.page
    before = picker.images()
    page.evaluate("() => socket.close()")
    expect(picker["status"]).to_have_text("Connected again.")
    assert (picker.images() == before).all()
    picker.generate()
    os.kill(site[1], signal.SIGKILL)
    expect(picker["lost"]).to_be_visible()
    expect(picker["lost"]).to_contain_text("is lost")
    expect(picker.button("Reload")).to_be_visible()
    page.screenshot(path=screenshots / "page-8-lost.png")
    page.errors.clear()  # Chromium notes that it could not connect
