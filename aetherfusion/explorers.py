"""Look closer: one trajectory step by step, guidance class by class, attention cell by cell.

Owns: `DenoisingScrubber`, `GuidanceExplorer`, `AttentionExplorer` and `attention_on_the_way`.
Import the first three from `aetherfusion.widgets`. Used in lessons 02 and 06.
"""

import html
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import to_unit
from .generation import generate_images, label_numbers
from .panel import DEFAULTS, Panel
from .sampling import Denoiser, SamplerStep
from .stills import mosaic, png, still

SIDE = "304px"  # of a single picture on the page


class DenoisingScrubber(Panel):
    """One picture on its way: what the network sees beside what it takes that for, step by step.

    >>> DenoisingScrubber(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        way: what was seen so far, a (t, xt, x0_hat) for each step, images (channels, H, W) in
            [0, 1]; the last one, at t = 0, is the finished picture twice.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.way: list[tuple[float, Tensor, Tensor]] = []
        self._walk({"labels": self.first_class}, lambda step: None)
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        self.choice, self.steps = self.classes(), self.step_numbers()
        self.guidance = self.guidances()
        self.step = ui.IntSlider(value=0, min=0, max=len(self.way) - 1, description="Step")
        self.play = ui.Play(value=0, min=0, max=len(self.way) - 1, interval=350)
        # In the browser: the button runs on however slowly the kernel answers.
        self._links = [
            ui.jslink((self.play, "value"), (self.step, "value")),
            ui.jslink((self.step, "max"), (self.play, "max")),
        ]
        self.seen, self.guess = (ui.Image(format="png", layout={"width": SIDE}) for _ in "ab")
        self.where = ui.HTML()
        for name in ("choice", "guidance", "steps", "step", "play", "seen", "guess", "where"):
            getattr(self, name).add_class(f"aether-{name}")
        self.step.observe(lambda _: self._show(), names="value")
        self.go.on_click(lambda _: self.generate())
        left = ui.VBox(
            [
                self.title("From noise to picture"),
                self.choice,
                self.guidance,
                self.steps,
                self.seeds(),
                ui.HBox([self.go, self.halt]),
                self.bar,
                self.note,
            ]
        )
        pair = [
            ui.VBox([self.caption("what the network sees"), self.seen]),
            ui.VBox([self.caption("what it takes that for"), self.guess]),
        ]
        right = ui.VBox([self.pair(*pair), ui.HBox([self.play, self.step]), self.where])
        self._show()
        self.build(self.columns(left, right))

    def generate(self) -> None:
        """Walks anew with what the controls say; the slider comes along."""
        wanted = {
            "labels": self.choice.value,
            "seed": self.seed.value,
            "steps": self.steps.value,
            "guidance_scale": self.guidance.value,
        }

        def along(step: SamplerStep) -> None:
            if self.step_done():
                self.step.value = step.index
                self._show()

        def work() -> None:
            self.step.value, self.step.max = 0, wanted["steps"]
            self.say(f"On the way to {wanted['labels'] or 'a picture'}.")
            self._walk(wanted, along)
            self.step.value = len(self.way) - 1
            self._show()
            self.say("Done. Pull the slider or press play.")

        self.run(work, steps=wanted["steps"])

    def _walk(self, wanted: dict[str, Any], along: Callable[[SamplerStep], object]) -> None:
        way = self.way = []

        def keep(step: SamplerStep) -> None:
            way.append((float(step.t), to_unit(step.xt[0]).cpu(), to_unit(step.x0_hat[0]).cpu()))
            along(step)

        (image,) = generate_images(self.model, 1, **wanted, callback=keep)
        way.append((0.0, image, image))

    def _show(self) -> None:
        # The slider may be ahead of a walk that is under way, or was stopped.
        i = min(self.step.value, len(self.way) - 1)
        if i < 0:
            return
        t, seen, guess = self.way[i]
        self.seen.value, self.guess.value = png(seen), png(guess)
        end = " · the finished picture" if t == 0 else ""
        self.where.value = (
            f'<div class="aether-note">step {i} · t = {t:.2f}, which is {t:.0%} noise{end}</div>'
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: eight steps of the way, with `line` below."""
        n = min(8, len(self.way))
        picked = [self.way[round(i * (len(self.way) - 1) / max(1, n - 1))] for i in range(n)]
        return still(
            [torch.stack([seen for _, seen, _ in picked]), torch.stack([g for *_, g in picked])],
            row_names=("sees", "guesses"),
            column_names=[f"t = {t:.2f}" for t, *_ in picked],
            line=line,
        )


class GuidanceExplorer(Panel):
    """Every class from the same noise, at several guidance scales: what does guidance do?

    >>> GuidanceExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        rows: of each scale, in their order, images (classes, channels, H, W) in [0, 1].
    """

    ROWS = 4
    MOST_CLASSES = 12
    CELL = 84  # pixels on the page

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.names = self.names[: self.MOST_CLASSES]
        self.scales = self._spaced(1.0, 7.0)
        # The first sheet is made before anything shows: quickly, so in fewer steps.
        self.rows = [self._row(scale, {"steps": 8}) for scale in self.scales]
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        self.range = ui.FloatRangeSlider(
            value=(1.0, 7.0), min=0, max=12, step=0.5, description="Guidance"
        )
        self.steps = self.step_numbers(8)
        self.image = ui.Image(format="png")
        self.side, head = ui.HTML(), ui.HTML()
        self.range.add_class("aether-range")
        self.image.add_class("aether-image")
        self.steps.add_class("aether-steps")
        self.go.on_click(lambda _: self.generate())
        names = "".join(f"<div>{html.escape(name)}</div>" for name in self.names or ("any",))
        head.value = f'<div class="aether-names">{names}</div>'
        width = f"{self.CELL * max(1, len(self.names))}px"
        self.image.layout.width = head.layout.width = width
        sheet = ui.VBox([head, self.image])
        controls = [
            ui.VBox([self.range, self.steps]),
            ui.VBox([self.seeds(), ui.HBox([self.go, self.halt])]),
        ]
        self._show()
        self.build(
            self.title("The same noise, every class, more and more guidance"),
            self.columns(*controls),
            ui.HBox([self.side, sheet]),
            self.bar,
            self.note,
        )

    def generate(self) -> None:
        """Makes the sheet anew, row by row, with what the controls say."""
        self.scales = self._spaced(*self.range.value)
        options = {"seed": self.seed.value, "steps": self.steps.value}

        def work() -> None:
            shape = (self.model.channels, self.model.image_size, self.model.image_size)
            self.rows = [torch.ones(max(1, len(self.names)), *shape) for _ in self.scales]
            for i, scale in enumerate(self.scales):
                self.say(f"Row {i + 1} of {len(self.scales)}: guidance {scale:g}")
                self.rows[i] = self._row(scale, options, lambda step, i=i: advance(step, i))
                self._show()
            self.say(f"Seed {options['seed']}, {options['steps']} steps. Guidance 1 is none.")

        def advance(step: SamplerStep, i: int) -> None:
            if self.step_done():
                self.rows[i] = to_unit(step.xt).cpu()
                self._show()

        self.run(work, steps=options["steps"] * len(self.scales))

    def _spaced(self, low: float, high: float) -> list[float]:
        return [round(float(x), 2) for x in torch.linspace(low, high, self.ROWS)]

    def _row(self, scale: float, options: dict[str, Any], callback: Any = None) -> Tensor:
        """(classes, channels, H, W): picture i is of class i, and all start at the same noise."""
        sampler = DEFAULTS["sampler"]

        def from_one_noise(denoise: Denoiser, x: Tensor, times: Tensor, **others: Any) -> Tensor:
            return sampler(denoise, x[:1].expand_as(x), times, **others)

        return generate_images(
            self.model,
            max(1, len(self.names)),
            guidance_scale=scale,
            sampler=from_one_noise,
            callback=callback,
            **options,
        )

    def _show(self) -> None:
        self.image.value = png(mosaic(torch.cat(self.rows), len(self.rows[0])))
        height = self.CELL * len(self.scales)
        numbers = "".join(f"<div>{scale:g}</div>" for scale in self.scales)
        self.side.value = (
            '<div class="aether-names" style="height:26px">scale</div>'
            f'<div class="aether-scales" style="height:{height}px">{numbers}</div>'
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: the sheet, with `line` below."""
        names = [f"guidance {scale:g}" for scale in self.scales]
        return still(self.rows, row_names=names, column_names=self.names or ("any",), line=line)


class AttentionExplorer(Panel):
    """Point at a cell of a picture on its way and see which cells a head listens to from there.

    The transformer blocks see one token for every 4x4 pixels. The picture is covered with as many
    see-through buttons; the sliders for row and column do the same for the keyboard.

    >>> AttentionExplorer(model)

    Args:
        model: a trained `DiffusionTransformerUNet`; None for the pretrained one.

    Attributes:
        maps: (blocks, steps, heads, N, N), how much cell i listens to cell j; rows sum to 1.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.side = self.model.image_size // 4  # cells of a row
        self._walk({"labels": self.first_class}, lambda step: None)
        if self.ui is not None:
            self._lay_out(self.ui)

    def _lay_out(self, ui: Any) -> None:
        blocks, steps, heads = self.maps.shape[:3]
        self.choice = self.classes()
        self.row = ui.IntSlider(value=self.side // 2, min=0, max=self.side - 1, description="Row")
        self.column = ui.IntSlider(
            value=self.side // 2, min=0, max=self.side - 1, description="Column"
        )
        # Two thirds of the way: there is something to see, and the network still works on it.
        self.step = ui.IntSlider(value=2 * steps // 3, min=0, max=steps - 1, description="Step")
        self.block = ui.ToggleButtons(
            options=[(str(i + 1), i) for i in range(blocks)], description="Block"
        )
        self.head = ui.ToggleButtons(
            options=[("mean", -1), *((str(i + 1), i) for i in range(heads))], description="Head"
        )
        for chooser in (self.block, self.head):
            chooser.style.button_width, chooser.layout.width = "56px", "440px"
        self.seen, self.heard = (ui.Image(format="png", layout={"width": SIDE}) for _ in "ab")
        self.where = ui.HTML()
        for name in ("choice", "row", "column", "step", "block", "head", "seen", "heard", "where"):
            getattr(self, name).add_class(f"aether-{name}")
        for control in (self.row, self.column, self.step, self.block, self.head):
            control.observe(lambda _: self._show(), names="value")
        self.go.on_click(lambda _: self.generate())
        left = ui.VBox(
            [
                self.title("What does a cell listen to?"),
                self.block,
                self.head,
                self.step,
                self.row,
                self.column,
                self.where,
            ]
        )
        pair = [
            ui.VBox([self.caption("what the network sees: click a cell"), self._covered(ui)]),
            ui.VBox([self.caption("what that cell listens to"), self.heard]),
        ]
        another = [self.choice, self.seeds(), ui.HBox([self.go, self.halt]), self.bar, self.note]
        self._show()
        self.build(self.columns(left, ui.VBox([self.pair(*pair), *another])))

    def _covered(self, ui: Any) -> Any:
        """The picture under a grid of see-through buttons, as an Image cannot be clicked."""
        places = list(itertools.product(range(self.side), repeat=2))
        # The words are for those who hear the page; the style hides them.
        self.cells = [ui.Button(description=f"row {r}, column {c}") for r, c in places]
        for cell, place in zip(self.cells, places, strict=True):
            cell.on_click(lambda _, place=place: self.point_at(*place))
        grid = ui.Box(self.cells)
        grid.add_class("aether-cells")
        grid.layout.grid_template_columns = grid.layout.grid_template_rows = (
            f"repeat({self.side}, 1fr)"
        )
        sheet = ui.Box([self.seen, grid], layout={"width": SIDE, "height": SIDE})
        sheet.add_class("aether-sheet")
        return sheet

    def point_at(self, row: int, column: int) -> None:
        """Asks for the cell in this row and column, from 0, at the top left."""
        self.row.value, self.column.value = row, column

    def generate(self) -> None:
        """Makes another picture and looks at every step of it."""
        wanted = {"labels": self.choice.value, "seed": self.seed.value}

        def work() -> None:
            self.say(f"On the way to {wanted['labels'] or 'a picture'}.")
            self._walk(wanted, lambda step: self.step_done())
            self._show()
            self.say("Done: click a cell of it.")

        self.run(work, steps=self.step.max + 1)

    def _walk(self, wanted: dict[str, Any], along: Callable[[SamplerStep], object]) -> None:
        kept: list[SamplerStep] = []

        def keep(step: SamplerStep) -> None:
            kept.append(step)
            along(step)

        generate_images(self.model, 1, **wanted, callback=keep)
        xt, x0_hat = (torch.cat([getattr(s, name) for s in kept]) for name in ("xt", "x0_hat"))
        t = torch.stack([step.t for step in kept])
        labels = label_numbers(self.model, wanted["labels"], 1).to(xt.device)
        maps = attention_on_the_way(self.model, xt, t.to(xt), labels.expand(len(xt)))
        # All at once: who draws at this moment sees the old picture or the new one.
        self._seen = to_unit(xt).cpu(), to_unit(x0_hat).cpu(), t.tolist(), maps.cpu()
        self.maps = self._seen[-1]

    def _show(self) -> None:
        xt, x0_hat, times, maps = self._seen
        step, cell = min(self.step.value, len(times) - 1), (self.row.value, self.column.value)
        weights = _one_map(maps[self.block.value, step], self.head.value, cell)
        self.seen.value = png(_framed(_enlarged(xt[step]), cell, self.side))
        self.heard.value = png(_framed(_lit(x0_hat[step], weights), cell, self.side))
        top, most = int(weights.argmax()), float(weights.max())
        self.where.value = (
            f'<div class="aether-note">t = {times[step]:.2f}. Row {cell[0]}, column {cell[1]} '
            f"listens most to row {top // self.side}, column {top % self.side}: {most:.0%} of its "
            f"attention. Shared evenly, each cell would get {1 / self.side**2:.1%}.</div>"
        )

    def picture(self, line: str) -> bytes:
        """The bytes of a PNG file: what the first block's heads listen to, with `line` below."""
        xt, x0_hat, _, maps = self._seen
        step, cell = len(xt) // 2, (self.side // 2, self.side // 2)
        heads = range(maps.shape[2])
        lit = [_lit(x0_hat[step], _one_map(maps[0, step], head, cell)) for head in heads]
        pictures = [_enlarged(xt[step]), *lit]
        return still(
            [torch.stack([_framed(picture, cell, self.side) for picture in pictures])],
            row_names=("",),
            column_names=["sees", *(f"head {i + 1}" for i in heads)],
            line=line,
        )


def attention_on_the_way(model: Any, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """What every transformer block of a model listens to in noisy images.

    Args:
        model: a `DiffusionTransformerUNet`.
        xt: (B, channels, H, W) in [-1, 1] and beyond.
        t: (B,) times in [0, 1].
        labels: (B,) integers.

    Returns:
        (blocks, B, heads, N, N), with N tokens, row by row; the last axis sums to 1.
    """
    blocks, me = list(model.unet.blocks), threading.get_ident()
    inputs: dict[int, Sequence[Tensor]] = {}

    def keeper(i: int) -> Any:
        def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if threading.get_ident() == me:  # another widget may use the same model meanwhile
                inputs[i] = arguments

        return keep

    hooks = [block.register_forward_pre_hook(keeper(i)) for i, block in enumerate(blocks)]
    try:
        with torch.inference_mode():
            model(xt, t, labels)
            return torch.stack([b.attention_maps(*inputs[i]) for i, b in enumerate(blocks)])
    finally:
        for hook in hooks:
            hook.remove()


def _one_map(maps: Tensor, head: int, cell: tuple[int, int]) -> Tensor:
    """(heads, N, N) to (N,): what the cell listens to by one head, or the mean of all for -1."""
    side = int(maps.shape[-1] ** 0.5)
    rows = maps[:, cell[0] * side + cell[1]]  # (heads, N)
    return rows.mean(0) if head < 0 else rows[head]


def _enlarged(image: Tensor, zoom: int = 8) -> Tensor:
    """(C, H, W) to (3, zoom H, zoom W), pixel by pixel."""
    return image.expand(3, -1, -1).repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def _lit(image: Tensor, weights: Tensor) -> Tensor:
    """The picture in the dark, lit where the weights (N,) are high; enlarged."""
    side = int(len(weights) ** 0.5)
    # The square root lifts what is faint: on a projector the rest would be black.
    light = (weights / weights.max()).sqrt().view(1, 1, side, side)
    large = _enlarged(image)
    light = F.interpolate(light, large.shape[-2:], mode="nearest")[0]  # (1, H, W)
    return large * (0.15 + 0.85 * light)


def _framed(large: Tensor, cell: tuple[int, int], side: int, thick: int = 3) -> Tensor:
    """Draws an orange frame around a cell of an enlarged picture."""
    large, size = large.clone(), large.shape[-1] // side
    (top, left), colour = (i * size for i in cell), torch.tensor([1.0, 0.45, 0.0])
    frame = large[:, top : top + size, left : left + size]
    inside = frame[:, thick:-thick, thick:-thick].clone()
    frame[:] = colour[:, None, None]
    frame[:, thick:-thick, thick:-thick] = inside
    return large
