"""The pages of `aetherfusion picker`: one model and one queue for all. No lesson builds it.

`cli/picker.py` serves them, by name. A message from a page is JSON; one to a page is a line of
JSON, then the bytes of images.
"""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
from torch import Tensor
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ..data import CIFAR10_CLASSES, ImageTensors, from_unit, load_cifar10, to_uint8, to_unit
from ..diffusion import SamplingSettings
from ..generation import SAMPLERS, generate_images, starting_noise
from ..sampling import Denoiser, SamplerStep
from .panel import class_names

MAX_PAGES, MAX_IMAGES, MAX_SCALES = 60, 20, 5
Answer = tuple[bytes, dict[str, Any]]  # a message to a page


class Page(WebSocketHandler):
    """The connection to an open page, which has at most one run."""

    run: asyncio.Task[None] | None = None
    images = torch.empty(0)  # of its last run

    def prepare(self) -> None:
        """Makes the site for the first page; all others share it."""
        if "site" not in self.settings:
            self.settings["site"] = Site(self.settings["model"])
        self.site: Site = self.settings["site"]

    def open(self) -> None:
        """Tells the page about the model, unless too many are open."""
        if len(self.site.pages) >= MAX_PAGES:
            self.send(type="full", text=f"{MAX_PAGES} pages are open, and no more can be.")
            self.site.loop.call_later(1, self.close)
            return
        self.site.pages.append(self)
        self.send(self.site.noise, type="hello", **self.site.about)
        self.send(self.site.samples, type="samples")
        self.site.tell()

    def on_message(self, message: str | bytes) -> None:
        """Queues what the page asks for; what it asked for before is dropped."""
        self.stop()
        if message != "stop" and self in self.site.pages:
            self.run = asyncio.create_task(self.wait_for(message))

    def on_close(self) -> None:
        """Releases everything."""
        self.stop()
        if self in self.site.pages:
            self.site.pages.remove(self)

    def stop(self) -> None:
        """Drops the run of the page, which ends at its next step if it is under way."""
        if self.run is not None:
            self.run.cancel()
            self.run = None

    async def wait_for(self, message: str | bytes) -> None:
        """Waits for the turn of a run, and for its end."""
        run, site = asyncio.current_task(), self.site
        site.queue.append(self)
        site.tell()
        try:
            asked = dict(json.loads(message))
            work = find_nearest if "index" in asked else generate
            images, answer = await site.loop.run_in_executor(site.worker, work, self, run, asked)
            self.send(images, **answer)
        except (torch.OutOfMemoryError, MemoryError):
            self.send(type="refused", text="Out of memory: ask for fewer images.")
        except Exception as error:
            self.send(type="refused", text=str(error))
        finally:
            site.queue.remove(self)
            site.tell()

    def send(self, images: bytes = b"", **message: Any) -> None:
        """Sends a message, from any thread; messages stay in order."""
        data = json.dumps(message).encode() + b"\n" + images
        asyncio.run_coroutine_threadsafe(self._send(data), self.site.loop)

    async def _send(self, data: bytes) -> None:
        with suppress(WebSocketClosedError):
            await self.write_message(data, binary=True)


class Site:
    """The model, the open pages, and those that have a run, in the order in which they came."""

    def __init__(self, model: Any) -> None:
        self.model, self.names, self.samples = model, class_names(model), b""
        self.pages: list[Page] = []
        self.queue: list[Page] = []
        self.loop, self.worker = asyncio.get_running_loop(), ThreadPoolExecutor(max_workers=1)
        use, size = asdict(model.sampling or SamplingSettings()), model.image_size
        self.about = {"names": self.names, "size": size, "channels": model.channels, "use": use}
        self.noise = pixels(to_unit(starting_noise(model, range(10), 0)))
        self.worker.submit(self.draw_samples)

    def draw_samples(self) -> None:
        """One image of each class for the cards: quickly, so in few steps, strongly guided."""
        options: Any = {"steps": 8, "guidance_scale": 4.0, "guidance_interval": (0.0, 1.0)}
        number = min(len(self.names), MAX_IMAGES)
        self.samples = pixels(generate_images(self.model, number, seed=12, **options))
        for page in [*self.pages]:
            page.send(self.samples, type="samples")

    def tell(self) -> None:
        """Tells every page how many runs there are, and how many are before its own."""
        for page in self.pages:
            before = self.queue.index(page) if page in self.queue else None
            page.send(type="queue", before=before, runs=len(self.queue))


def generate(page: Page, run: Any, asked: dict[str, Any]) -> Answer:
    """Makes the images that a page asks for, and sends every step of them."""
    model, labels, scales = page.site.model, list(asked["labels"]), list(asked["scales"])
    if not (1 <= len(labels) <= MAX_IMAGES and 1 <= len(scales) <= MAX_SCALES):
        raise ValueError(f"Ask for 1 to {MAX_IMAGES} images at 1 to {MAX_SCALES} guidance scales.")
    if not all(0 <= float(scale) <= 10 for scale in scales):
        raise ValueError("Guidance must be a number from 0 to 10.")
    labels = [whole("Class", label, 0, model.num_classes - 1) for label in labels]
    steps, seed = whole("Steps", asked["steps"], 1, 60), whole("Seed", asked["seed"], 0, 2**32 - 1)
    solve, made = SAMPLERS[asked["sampler"]], list[Tensor]()

    def from_one_noise(denoise: Denoiser, x: Tensor, times: Tensor, **others: Any) -> Tensor:
        return solve(denoise, x[:1].expand_as(x), times, **others)

    def show(step: SamplerStep) -> None:
        if run.done():
            raise RuntimeError("stopped")  # nobody waits for this run any more
        part = (len(made) + step.index / steps) / len(scales)
        images = pixels(to_unit(torch.cat([step.xt, step.x0_hat])))
        place = {"step": step.index, "first": len(made) * len(labels)}
        page.send(images, type="frame", t=float(step.t), part=part, **place)

    options: Any = {"sampler": from_one_noise if asked.get("same_noise") else solve}
    if len(scales) > 1:
        options["guidance_interval"] = (0.0, 1.0)  # so that they differ more
    for scale in scales:
        options |= {"guidance_scale": float(scale), "steps": steps, "seed": seed, "callback": show}
        images = generate_images(model, labels=labels, **options)
        show(SamplerStep(steps, steps, torch.tensor(0.0), *[from_unit(images)] * 2))
        made.append(images)
    page.images = torch.cat(made)
    return b"", {"type": "done"}


def find_nearest(page: Page, run: Any, asked: dict[str, Any]) -> Answer:
    """The three training images nearest to one of a page, where CIFAR-10 is on the disk."""
    model = page.site.model
    if (model.channels, model.image_size, page.site.names) != (3, 32, CIFAR10_CLASSES):
        return b"", {"type": "nearest", "names": []}
    image = page.images[whole("Index", asked["index"], 0, len(page.images) - 1)].reshape(1, -1)
    try:
        training = cifar10()
    except FileNotFoundError:
        return b"", {"type": "nearest", "names": []}
    flat = training.images.flatten(1).split(5000)  # (5000, 3072) each
    gaps = torch.cat([torch.cdist(image, some.float() / 255)[0] for some in flat])  # (50000,)
    gaps, found = gaps.topk(3, largest=False)
    names = [page.site.names[label] for label in training.labels[found]]
    answer = {"type": "nearest", "names": names, "gaps": (gaps / 3072**0.5).tolist()}
    return pixels(training.images[found] / 255), answer


@cache
def cifar10() -> ImageTensors:
    """The training images, read once; FileNotFoundError where there are none."""
    return load_cifar10(download=False)


def whole(name: str, typed: Any, low: int, high: int) -> int:
    """A whole number in [low, high], as it was typed; else one sentence in a ValueError."""
    if not re.fullmatch(r"[0-9]{1,10}", str(typed)) or not low <= int(typed) <= high:
        text = f"{name} must be a whole number from {low} to {high}, not {str(typed)[:20]!r}."
        raise ValueError(text)
    return int(typed)


def pixels(images: Tensor) -> bytes:
    """Images (N, C, H, W) in [0, 1] as N * H * W * C bytes."""
    return to_uint8(images).permute(0, 2, 3, 1).cpu().numpy().tobytes()
