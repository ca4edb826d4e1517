"""`aetherfusion picker`: who may see the page, what the server answers, and whose turn it is.

The pages here are plain websockets and the model is tiny; test_page.py opens the page in Chromium.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
import torch
from command_line import PATIENCE, Said, an_empty_folder, refused, run, weights  # noqa: F401

from aetherfusion import (
    SHAPES10_CLASSES,
    DiffusionTransformerUNet,
    denoising_trajectory,
    generate_images,
    load_model,
    save_model,
)
from aetherfusion.cli import main
from aetherfusion.data import to_uint8, to_unit
from aetherfusion.generation import starting_noise

pytest.importorskip("tornado", reason="the page needs the extra 'notebooks'")
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

ASKED = {"labels": [3] * 4, "scales": [2.5], "steps": 5, "seed": 7, "sampler": "dpmpp_2m"}
LONG = {**ASKED, "labels": [1] * 20, "scales": [0, 1, 2, 4, 8], "steps": 60, "sampler": "heun"}


def save(path: Path, **config: Any) -> str:
    """A tiny model whose images are no flat grey."""
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(embedding_dim=8, num_heads=2, depth=1, **config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return str(save_model(model, path))


class Server:
    """A server in a process of its own; `url` has the token."""

    def __init__(self, process: Any, path: str) -> None:
        self.process, self.model = process, load_model(path)
        self.first_line = process.stdout.readline()
        self.url = self.first_line.split()[1]

    def get(self, path: str = "/", token: bool = True, **headers: str) -> Any:
        parts = urlsplit(self.url)
        url = f"http://{parts.netloc}{path}" + f"?{parts.query}" * token
        return urlopen(Request(url, headers=headers), timeout=PATIENCE)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tmp_path_factory.mktemp("model") / "tiny.safetensors", class_names=SHAPES10_CLASSES)


@pytest.fixture(scope="module")
def server(tiny: str) -> Iterator[Server]:
    with run("picker", "--no-browser", "--port", "8990", "--weights", tiny) as process:
        yield Server(process, tiny)


class Visitor:
    """An open page, without a browser."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @classmethod
    async def at(cls, server: Server, **headers: str) -> Visitor:
        url = server.url.replace("http", "ws").replace("/?", "/socket?")
        return cls(await websocket_connect(HTTPRequest(url, headers=headers)))

    async def read(self, *kinds: str) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
        """The next message of one of these kinds; the others are skipped."""
        while True:
            data = await asyncio.wait_for(self.connection.read_message(), 60)
            assert data is not None, "the server has closed the connection"
            line, _, images = data.partition(b"\n")
            message = json.loads(line)
            if message["type"] in kinds:
                return message, np.frombuffer(images, np.uint8)

    async def ask(self, asked: Any) -> None:
        await self.connection.write_message(asked if isinstance(asked, str) else json.dumps(asked))

    async def frames(self, asked: Any) -> list[tuple[dict[str, Any], np.ndarray[Any, Any]]]:
        """All steps of a run."""
        await self.ask(asked)
        found = []
        while True:
            message, images = await self.read("frame", "done", "refused")
            if message["type"] != "frame":
                assert message["type"] == "done", message
                return found
            found.append((message, images))

    async def jobs(self) -> int:
        return int((await self.read("queue"))[0]["runs"])


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), PATIENCE))  # type: ignore[arg-type]


def as_bytes(images: torch.Tensor) -> np.ndarray[Any, Any]:
    return to_uint8(images).permute(0, 2, 3, 1).numpy().reshape(-1)


def close(shown: np.ndarray[Any, Any], images: torch.Tensor) -> bool:
    """Another number of threads adds up in another order; other noise would differ by 50."""
    return bool(np.abs(shown.astype(float) - as_bytes(images)).mean() < 1)


# What is printed


def test_the_page_is_served_at_the_next_free_port_until_ctrl_c(weights: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        args = ["--no-browser", "--port", str(port), "--weights", weights]
        with run("picker", *args) as process:
            server = Server(process, weights)
            assert server.first_line.startswith("Serving http://127.0.0.1:")
            assert f":{port}/" not in server.url and len(urlsplit(server.url).query) > 20
            with server.get() as page:
                html = page.read().decode()

            async def scene() -> None:
                visitor = await Visitor.at(server)
                await visitor.ask(LONG)
                await visitor.read("frame")
                process.send_signal(signal.SIGINT)  # in the middle of a run

            play(scene)
            rest, errors = process.communicate(timeout=PATIENCE)
    assert "Images out of noise" in html
    assert process.returncode == 0 and rest == "" and errors == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [(["--port", "0"], ["'--port'"]), (["--weights", "nowhere"], ["there is no model at nowhere"])],
)
def test_bad_options(args: list[str], words: list[str], capsys: Said) -> None:
    refused(["picker", "--no-browser", *args], capsys, *words)


def test_a_page_for_the_network_says_what_that_means(tiny: str, capsys: Said) -> None:
    assert main(["picker", "--no-browser", "--weights", tiny, "--host", "192.0.2.7"]) == 2
    assert capsys.readouterr().err == "Error: Cannot assign requested address\n"
    args = ["--no-browser", "--port", "8970", "--weights", tiny, "--host", "0.0.0.0"]
    with run("picker", *args) as process:
        server = Server(process, tiny)
        assert process.stdout is not None and "network" in process.stdout.readline()
        assert "0.0.0.0" not in server.url
        assert server.get().status == 200
        port = urlsplit(server.url).port
        for host, status in ((f"192.0.2.1:{port}", 200), (f"evil.example:{port}", 403)):
            assert status_of(server, Host=host) == status


# Who may see it


def status_of(server: Server, path: str = "/", token: bool = True, **headers: str) -> int:
    try:
        return int(server.get(path, token, **headers).status)
    except HTTPError as error:
        assert "picker" in error.read().decode() or error.code == 404
        return error.code


def test_only_the_printed_address_opens_the_page(server: Server) -> None:
    own = urlsplit(server.url).netloc
    for path in ("/", "/style.css", "/script.js"):
        assert status_of(server, path) == 200
        assert status_of(server, path, token=False) == 403
        assert status_of(server, f"{path}?token=guess", token=False) == 403
        assert status_of(server, path, Host="evil.example") == 403
        assert status_of(server, path, Host=f"192.0.2.1:{urlsplit(server.url).port}") == 403
        assert status_of(server, path, Origin="http://evil.example") == 403
        assert status_of(server, path, Origin="null") == 403
        assert status_of(server, path, Origin=f"http://{own}") == 200
    for path in ("/server.py", "/../server.py", "/page/index.html", "/index.html"):
        assert status_of(server, path) == 404
    headers = server.get().headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"


def test_only_the_page_opens_a_connection(server: Server) -> None:
    own = urlsplit(server.url).netloc

    async def scene() -> None:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(HTTPClientError, match="403"):
                await Visitor.at(server, **headers)
        for query in ("", "token=guess"):
            with pytest.raises(HTTPClientError, match="403"):
                await websocket_connect(f"ws://{own}/socket?{query}")
        hello, _ = await (await Visitor.at(server, Origin=f"http://{own}")).read("hello")
        assert hello["names"] == list(SHAPES10_CLASSES)

    play(scene)


# What it answers


def test_a_page_starts_with_noise_and_one_image_of_each_class(server: Server) -> None:
    async def scene() -> None:
        visitor = await Visitor.at(server)
        hello, noise = await visitor.read("hello")
        assert close(noise, to_unit(starting_noise(server.model, range(10), 0)))
        assert (hello["size"], hello["channels"], hello["use"]["steps"]) == (32, 3, 14)
        samples = np.empty(0)
        while not len(samples):
            _, samples = await visitor.read("samples")
        expected = generate_images(
            server.model, seed=12, steps=8, guidance_scale=4, guidance_interval=(0, 1)
        )
        assert close(samples, expected)

    play(scene)


def test_every_step_of_a_run_is_sent(server: Server) -> None:
    async def scene() -> None:
        frames = await (await Visitor.at(server)).frames(ASKED)
        options = {"labels": [3] * 4, "guidance_scale": 2.5, "steps": 5, "seed": 7}
        expected = denoising_trajectory(server.model, 4, **options)
        assert [message["step"] for message, _ in frames] == [0, 1, 2, 3, 4, 5]
        for (message, images), t, xt in zip(frames, expected.times, expected.xt, strict=True):
            assert message["t"] == pytest.approx(float(t)) and message["first"] == 0
            assert close(images[: len(images) // 2], to_unit(xt))
        for (_, images), x0 in zip(frames, [*expected.x0_hat, expected.xt[-1]], strict=True):
            assert close(images[len(images) // 2 :], to_unit(x0))

    play(scene)


def test_the_same_noise_and_more_and_more_guidance(server: Server) -> None:
    asked = {**ASKED, "labels": [0, 1, 2], "scales": [0, 8], "same_noise": True, "sampler": "heun"}

    async def scene() -> None:
        frames = await (await Visitor.at(server)).frames(asked)
        last = [(m["first"], images) for m, images in frames if m["step"] == 5]
        assert [first for first, _ in last] == [0, 3]
        for scale, (_, images) in zip([0, 8], last, strict=True):
            options: Any = {"guidance_interval": (0, 1), "seed": 7, "steps": 5, "sampler": "heun"}
            expected = [
                generate_images(server.model, 1, labels=i, guidance_scale=scale, **options)
                for i in range(3)  # image 0 of a seed has the same noise whatever its label
            ]
            assert close(images[: len(images) // 2], torch.cat(expected))

    play(scene)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "12a"}, "Seed must be a whole number from 0 to 4294967295, not '12a'."),
        ({"seed": ""}, "Seed must be"),
        ({"seed": "-1"}, "Seed must be"),
        ({"seed": "1e3"}, "Seed must be"),
        ({"seed": 2**32}, "Seed must be"),
        ({"seed": "١٢"}, "Seed must be"),
        ({"steps": 61}, "Steps must be a whole number from 1 to 60"),
        ({"steps": 2.0}, "Steps must be"),
        ({"labels": [10]}, "Class must be a whole number from 0 to 9"),
        ({"labels": []}, "1 to 20 images"),
        ({"labels": [1] * 21}, "1 to 20 images"),
        ({"scales": [0, 1, 2, 3, 4, 5]}, "1 to 5 guidance scales"),
        ({"scales": [10.5]}, "Guidance"),
        ({"scales": ["nan"]}, "Guidance"),
        ({"sampler": "euler"}, "euler"),
        ({"sampler": ["heun"]}, ""),
        ({"steps": None}, "Steps"),
    ],
)
def test_what_no_control_sends_is_refused(server: Server, change: Any, words: str) -> None:
    async def scene() -> None:
        visitor = await Visitor.at(server)
        await visitor.ask({**ASKED, **change})
        answer, _ = await visitor.read("frame", "refused")
        assert answer["type"] == "refused" and words in answer["text"]
        assert len(await visitor.frames({**ASKED, "steps": 1})) == 2

    play(scene)


def test_junk_harms_nobody(server: Server) -> None:
    async def scene() -> None:
        visitor = await Visitor.at(server)
        for junk in ("", "[" * 3000, "{", "7", "null", '{"labels": 1}'):
            await visitor.ask(junk)
            assert (await visitor.read("refused"))[0]["text"]
        await visitor.ask("x" * 5000)
        while await visitor.connection.read_message() is not None:
            pass  # too long: the server closes the connection
        assert await (await Visitor.at(server)).frames(ASKED)

    play(scene)


def test_the_training_images_are_looked_for_only_where_they_belong(server: Server) -> None:
    """This model has drawn shapes, so there are none; test_page.py tries the other case."""

    async def scene() -> None:
        visitor = await Visitor.at(server)
        await visitor.frames(ASKED)
        await visitor.ask({"index": 3})
        assert (await visitor.read("nearest"))[0]["names"] == []

    play(scene)


def test_a_grey_model_of_many_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.safetensors", channels=1, image_size=16, num_classes=25)
    with run("picker", "--no-browser", "--port", "8960", "--weights", path) as process:
        server = Server(process, path)

        async def scene() -> None:
            visitor = await Visitor.at(server)
            hello, noise = await visitor.read("hello")
            assert hello["names"] == [str(i) for i in range(25)] and len(noise) == 10 * 16 * 16
            frames = await visitor.frames({**ASKED, "labels": [24]})
            expected = generate_images(
                server.model, 1, labels=24, guidance_scale=2.5, steps=5, seed=7
            )
            assert close(frames[-1][1][:256], expected)

        play(scene)


# Whose turn it is


def test_runs_come_in_the_order_in_which_they_were_asked_for(server: Server) -> None:
    async def scene() -> None:
        alone = await Visitor.at(server)
        asked = {**ASKED, "labels": [1] * 10, "steps": 20}
        await alone.frames(asked)
        started = time.monotonic()
        await alone.frames(asked)
        one = time.monotonic() - started

        visitors = [await Visitor.at(server) for _ in range(3)]
        ended: list[int] = []

        async def visit(i: int) -> None:
            assert len(await visitors[i].frames(asked)) == 21
            ended.append(i)

        started = time.monotonic()
        tasks = []
        for i, visitor in enumerate(visitors):
            tasks.append(asyncio.create_task(visit(i)))
            await asyncio.sleep(0.02)
            if i == 2:
                while True:  # until it is told its place
                    message, _ = await alone.read("queue")
                    if message["runs"] == 3:
                        break
            del visitor
        await asyncio.gather(*tasks)
        three = time.monotonic() - started
        print(f"one page {one:.2f} s, three pages {three:.2f} s, {three / one:.2f} times")
        assert ended == [0, 1, 2]
        assert three < 3.5 * one + 1  # the machine may have become busy

    play(scene)


def test_a_page_is_told_how_many_are_before_it(server: Server) -> None:
    async def scene() -> None:
        first, second = await Visitor.at(server), await Visitor.at(server)
        await first.ask(LONG)
        await first.read("frame")
        await second.ask(ASKED)
        while (await second.read("queue"))[0]["before"] != 1:
            pass
        await first.ask("stop")
        while (await second.read("queue"))[0]["before"] != 0:
            pass
        await second.read("done")

    play(scene)


def test_a_closed_page_releases_its_run(server: Server) -> None:
    async def scene() -> None:
        watching, leaving, waiting = [await Visitor.at(server) for _ in range(3)]
        await leaving.ask(LONG)
        await leaving.read("frame")
        await waiting.ask(LONG)
        while await watching.jobs() != 2:
            pass
        started = time.monotonic()
        leaving.connection.close()
        waiting.connection.close()
        while await watching.jobs() != 0:
            pass
        assert await watching.frames({**ASKED, "steps": 1})  # so the worker is free
        assert time.monotonic() - started < 5

    play(scene)


def test_another_run_replaces_the_one_before(server: Server) -> None:
    async def scene() -> None:
        visitor = await Visitor.at(server)
        for _ in range(30):
            await visitor.ask(LONG)
        await visitor.ask({**ASKED, "labels": [2]})
        while True:
            message, images = await visitor.read("frame", "done")
            if message["type"] == "done":
                break
            last = images
        assert len(last) == 2 * 32 * 32 * 3, "a run that was replaced came to its end"

    play(scene)


def test_thirty_pages_need_little_memory_and_sixty_are_the_limit(server: Server) -> None:
    process = psutil.Process(server.process.pid)

    async def scene() -> None:
        before = process.memory_info().rss
        visitors = [await Visitor.at(server) for _ in range(30)]
        await asyncio.gather(*(v.frames({**ASKED, "labels": [1] * 20}) for v in visitors))
        used = process.memory_info().rss
        print(f"{before / 1e6:.0f} MB before, {used / 1e6:.0f} MB with thirty pages")
        assert used < 2.5e9 and used - before < 300e6
        visitors += [await Visitor.at(server) for _ in range(30)]
        message, _ = await (await Visitor.at(server)).read("hello", "full")
        assert message["type"] == "full" and "60 pages are open" in message["text"]
        for visitor in visitors:
            visitor.connection.close()
        for _ in range(100):
            message, _ = await (await Visitor.at(server)).read("hello", "full")
            if message["type"] == "hello":
                break
            await asyncio.sleep(0.1)
        assert message["type"] == "hello"

    play(scene)
