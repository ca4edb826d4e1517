"""What the tests in a real browser share: Chromium, servers, and a page that notes its errors."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
#: The pictures of the pages are kept here, for people to look at.
SCREENSHOTS = Path(os.environ.get("AETHERFUSION_SCREENSHOTS", ROOT / "build" / "screenshots"))
PATIENCE = 180  # seconds for what takes two, as the machine may be busy
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: python -m pip install 'aetherfusion[test]'"
)
if CHROMIUM is None:
    pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page at the size of a projector that reaches this machine only; notes errors in scripts."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.route("**/*", _stay_here)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()


def _stay_here(route: Any) -> None:
    if route.request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
        route.continue_()
    else:
        route.abort()  # fonts of icons, news


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], url: str, folder: Path, **environment: str) -> Iterator[int]:
    """Runs a server until the end of the block; yields its process id once it answers."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **environment,
    }
    log = (folder / "server.log").open("w+")
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=log, stderr=log
    ) as process:
        try:
            _wait_for(url, process, folder / "server.log")
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2)
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"{url} does not answer\n{log.read_text()}")


def notebook(cells: list[str]) -> str:
    made = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {},
            "source": source,
            "execution_count": None,
            "outputs": [],
        }
        for i, source in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    )


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """JupyterLab on a folder, without its news; yields its address."""
    port = free_port()
    settings = folder / ".settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    command = ["jupyterlab", "--no-browser", f"--ServerApp.port={port}", "--allow-root"]
    command += ["--ServerApp.token=", "--ServerApp.password=", "--ServerApp.port_retries=0"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={folder}"]
    url = f"http://127.0.0.1:{port}"
    with server(command, f"{url}/api", folder, JUPYTERLAB_SETTINGS_DIR=str(folder / ".settings")):
        yield url


def open_notebook(page: Any, lab: str, name: str, *, run: bool = True) -> None:
    """Opens a notebook of the folder and runs its cells."""
    page.goto(f"{lab}/doc/tree/{name}")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    if not run:
        return
    # A click on "Run all" before the kernel is there would be lost without a word.
    page.wait_for_function(
        """() => {
            const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
            return kernel && kernel.connectionStatus === "connected" && kernel.status === "idle";
        }"""
    )
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def screenshot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def status(page: Any) -> str:
    return page.inner_text(".aether-status").strip()


def wait_for_status(page: Any, words: str) -> str:
    """Waits until the line below the picture holds these words."""
    page.wait_for_function(
        "words => document.querySelector('.aether-status').innerText.includes(words)", arg=words
    )
    return status(page)


def pixels(page: Any, selector: str) -> np.ndarray[Any, Any]:
    """What a picture on the page holds, (H, W, 3) bytes."""
    encoded = page.evaluate(
        """async selector => {
            const blob = await (await fetch(document.querySelector(selector).src)).blob();
            return await new Promise(done => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(",")[1]);
                reader.readAsDataURL(blob);
            });
        }""",
        selector,
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
