"""The widgets in Chromium, in JupyterLab; test_page.py has the page of `aetherfusion picker`.

They run the shipped model. What the page shows is compared with what the functions return, so
nothing depends on how good its images are. Screenshots: $AETHERFUSION_SCREENSHOTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import (
    PATIENCE,
    chromium,  # noqa: F401
    expect,
    jupyterlab,
    kill_kernels,
    new_page,
    notebook,
    open_notebook,
    pixels,
    screenshots,  # noqa: F401
    wait_for_another,
)

import aetherfusion
from aetherfusion import load_pretrained
from aetherfusion.data import to_uint8

DONE = re.compile(r"\d s$")
WIDGETS = ("ClassPicker", "DenoisingScrubber", "GuidanceExplorer", "AttentionExplorer")


class OnPage:
    """One widget on a page, by the names of its parts."""

    def __init__(self, page: Any, number: int = 0) -> None:
        self.page, self.whole = page, page.locator(".aether").nth(number)
        self.go, self.stop = self["generate-button"], self["stop-button"]
        self.status = self["status"]

    def __getitem__(self, part: str) -> Any:
        return self.whole.locator(f".aether-{part}")

    def card(self, name: str) -> Any:
        return self["cards"].get_by_role("radio", name=name)

    def fill(self, part: str, value: str) -> None:
        """Types into a field and leaves it."""
        self[part].locator("input").fill(value)
        self[part].locator("input").press("Tab")

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)
        # Of quick changes ipywidgets sends the last one only after the kernel has answered the
        # first; nobody presses Generate at that moment, and the tests do not either.
        self.page.wait_for_timeout(500)

    def generate(self) -> None:
        """Presses Generate and waits for the end, of however short a run."""
        go = self.go.element_handle()
        go.evaluate(
            """go => {
                const watcher = new MutationObserver(() => { go.ran = true; });
                go.ran = false;
                watcher.observe(go, {attributeFilter: ["disabled"]});
            }"""
        )
        go.click()
        self.page.wait_for_function("go => go.ran && !go.disabled", arg=go)

    def wait_for_step(self, steps: str) -> None:
        """Waits until the bar says one of these steps, a pattern; looks at every frame."""
        self.page.wait_for_function(
            "([element, words]) => new RegExp(words).test(element.innerText)",
            arg=[self["progress"].element_handle(), f"({steps}) of"],
        )

    def code(self) -> str:
        return str(self["code"].locator("input").input_value())


def shows_what_its_code_makes(picker: OnPage) -> None:
    names = {name: getattr(aetherfusion, name) for name in aetherfusion.__all__}
    images = eval(picker.code(), {**names, "model": load_pretrained()})
    expected = to_uint8(images).permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
    sheet = pixels(picker["image"].locator("img"))
    size, gap = expected.shape[1], 1
    columns = (sheet.shape[1] + gap) // (size + gap)
    for i, image in enumerate(expected):
        top, left = (place * (size + gap) for place in divmod(i, columns))
        shown = sheet[top : top + size, left : left + size]
        # Another number of threads adds up in another order; other noise would differ by 50.
        assert np.abs(shown.astype(float) - image).mean() < 1, f"picture {i} is another one"


# In JupyterLab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("lab")
    cells = [f"from aetherfusion.widgets import {name}\n{name}()" for name in WIDGETS]
    cells.append(
        "from matplotlib.figure import Figure\nfrom aetherfusion.lessons import show\n"
        "show(Figure(), alt='nothing, in words of \"one\" or two')"
    )
    (folder / "widgets.ipynb").write_text(notebook(cells))
    with jupyterlab(folder) as address:
        yield address


@pytest.fixture(scope="module")
def tour(lab: Any, chromium: Any) -> Iterator[Any]:
    with new_page(chromium) as page:
        open_notebook(page, lab[0], "widgets.ipynb")
        # Each of the four generates its first images before it is shown.
        expect(page.locator(".aether")).to_have_count(4, timeout=4 * PATIENCE * 1000)
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        yield page


def take(widget: OnPage, path: Path) -> None:
    """A screenshot with the widget's cell at the top of the page."""
    cell = widget.whole.locator("xpath=ancestor::div[contains(@class, 'jp-CodeCell')]")
    cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")
    widget.page.mouse.move(5, 400)  # or the cell's own buttons would be in the picture
    widget.page.screenshot(path=path)


def test_axe_finds_nothing(tour: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="see extra 'test'")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        tour.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
        )
        expect(tour.locator("body")).to_have_attribute("data-jp-theme-name", theme)
        report = axe.Axe().run(tour, context={"include": [[".aether"]]}).response
        found = [(v["id"], v["nodes"][0]["html"]) for v in report["violations"]]
        assert len(report["passes"]) > 5 and found == [], found


def test_a_figure_has_its_alt_text(tour: Any) -> None:
    expect(tour.get_by_alt_text('nothing, in words of "one" or two')).to_be_visible()


def test_everything_can_be_reached_by_the_keyboard(tour: Any) -> None:
    """One stop of the Tab key for all classes, arrow keys between them, and a visible focus."""
    picker, ring = OnPage(tour, 0), "getComputedStyle({}).outline"
    focus = "document.activeElement.closest('label:has([type=radio]), button, input, select')"
    expect(picker.status).to_have_attribute("role", "status")
    picker.card("horse").focus()
    picker.press("ArrowRight")
    expect(picker.card("ship")).to_be_checked()
    picker.press("ArrowUp")
    expect(picker.card("horse")).to_be_checked()
    expect(picker["code"].locator("input")).to_have_value(re.compile('labels="horse"'))
    stops = ["cards", "num-samples", "guidance-scale", "steps", "sampler", "seed"]
    for part in (*stops, "new-seed-button", "generate-button"):
        expect(picker.whole.locator(f".aether-{part}:focus, .aether-{part} :focus")).to_have_count(
            1
        )
        assert "3px" in tour.evaluate(f"() => {ring.format(focus)}"), part
        tour.keyboard.press("Tab")


def test_a_seed_is_used_as_typed_or_refused(tour: Any) -> None:
    picker = OnPage(tour, 0)
    picker.fill("seed", "1.5")
    picker["seed"].locator("input").press("Enter")
    expect(picker.status).to_have_text("The seed must be a whole number from 0 to 4294967295.")
    expect(picker["seed"].locator("input")).to_have_value("1.5")
    picker.fill("seed", "0")


def test_the_class_picker_in_jupyterlab(tour: Any, screenshots: Path) -> None:
    picker = OnPage(tour, 0)
    expect(tour.locator("[class^=aether-preview] img").first).to_be_hidden()
    picker.card("ship").check()
    image = picker["image"].locator("img")
    before = image.get_attribute("src")
    picker.generate()
    wait_for_another(image, before)
    expect(image).to_have_attribute("alt", "generated images, 10 of class ship")
    expect(picker.status).to_contain_text("10 of class ship")
    expect(picker.status).to_have_text(DONE)
    take(picker, screenshots / "lab-1-class-picker.png")
    shows_what_its_code_makes(picker)
    picker.fill("steps", "60")
    picker.go.click()
    picker.wait_for_step("[1-9].*")
    picker.stop.click()
    expect(picker.status).to_contain_text("Stopped after")


def test_the_scrubber_in_jupyterlab(tour: Any, screenshots: Path) -> None:
    scrubber = OnPage(tour, 1)
    scrubber["labels"].locator("select").select_option("ship")
    scrubber.generate()
    expect(scrubber["caption"]).to_contain_text("finished")
    noisy, estimate = (scrubber[part].locator("img") for part in ("noisy", "estimate"))
    np.testing.assert_array_equal(pixels(noisy), pixels(estimate))
    sources = {noisy.get_attribute("src")}
    scrubber.whole.get_by_role("radio", name="step 0", exact=True).check()
    expect(scrubber["caption"]).to_contain_text("t = 1.00")
    for step in range(1, 12):
        scrubber.press("ArrowRight")
        expect(scrubber["caption"]).to_contain_text(f"step {step} ")
        sources.add(noisy.get_attribute("src"))
    assert len(sources) == 12, "a step showed the picture of another one"
    take(scrubber, screenshots / "lab-2-scrubber.png")
    scrubber["play"].get_by_role("button", name="Play or pause").click()
    expect(scrubber["caption"]).to_contain_text("finished")


def test_the_guidance_explorer_in_jupyterlab(tour: Any, screenshots: Path) -> None:
    explorer = OnPage(tour, 2)
    explorer.fill("steps", "9")
    explorer.fill("seed", "12")
    image = explorer["image"].locator("img")
    before = image.get_attribute("src")
    explorer.generate()
    wait_for_another(image, before)
    expect(explorer.status).to_contain_text("Seed 12, 9 steps")
    size = 32
    assert pixels(image).shape == (4 * (size + 1) - 1, 10 * (size + 1) - 1, 3)
    take(explorer, screenshots / "lab-3-guidance.png")


def test_the_attention_explorer_in_jupyterlab(tour: Any, screenshots: Path) -> None:
    explorer = OnPage(tour, 3)
    image, chosen = explorer["attended"].locator("img"), explorer.whole.get_by_role
    sources = [image.get_attribute("src")]
    chosen("radio", name="row 2, column 5").check()
    expect(explorer["caption"]).to_contain_text("Row 2, column 5")
    for part, name in (("head", "0"), ("block", "3")):
        sources.append(image.get_attribute("src"))
        explorer[part].get_by_role("radio", name=name, exact=True).check()
        wait_for_another(image, sources[-1])
    step = explorer["caption"].inner_text()
    chosen("radio", name="step 7", exact=True).check()
    expect(explorer["caption"]).not_to_have_text(step)
    explorer["labels"].locator("select").select_option("ship")
    explorer.generate()
    expect(explorer.status).to_contain_text("Done")
    take(explorer, screenshots / "lab-4-attention.png")
    assert tour.errors == []


def test_a_broken_kernel_in_jupyterlab(tour: Any, lab: Any, screenshots: Path) -> None:
    for i in range(4):
        expect(OnPage(tour, i)["disconnected"]).to_be_hidden()
    tour.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    kill_kernels(lab[1])
    for i in range(4):
        expect(OnPage(tour, i)["disconnected"]).to_be_visible()
    tour.locator(".jp-Dialog").get_by_role("button", name="Ok").click()  # it says so too
    take(OnPage(tour, 0), screenshots / "lab-5-broken-kernel.png")


@pytest.mark.usefixtures("tour")  # it has saved it
def test_a_saved_notebook_shows_the_previews(lab: Any, chromium: Any, screenshots: Path) -> None:
    """Opened again, before any cell is run: a picture, and the line that says why."""
    with new_page(chromium) as page:
        open_notebook(page, lab[0], "widgets.ipynb", run=False)
        previews = page.locator("[class^=aether-preview] img")
        expect(previews).to_have_count(4)
        for i in range(4):
            expect(previews.nth(i)).to_have_attribute(
                "alt", re.compile(f"{WIDGETS[i]}: This is a preview")
            )
            expect(previews.nth(i)).to_be_visible()
        expect(page.locator(".jp-OutputArea-child:visible")).to_have_count(5)
        expect(page.get_by_alt_text("nothing, in words")).to_be_visible()
        page.screenshot(path=screenshots / "lab-6-saved.png")
