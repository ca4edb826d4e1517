"""What the tests in a real browser share: Chromium, two servers, and a page that notes errors."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 90  # seconds for what takes two, as the machine may be busy
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def needed(thing: str, how: str) -> None:
    """Skips the tests, with a reason, or lets them fail where a browser is required."""
    reason = f"no {thing}: {how}"
    if os.environ.get("AETHERFUSION_BROWSER") == "required":
        raise RuntimeError(f"AETHERFUSION_BROWSER is 'required', but there is {reason}")
    pytest.skip(reason, allow_module_level=True)


try:
    import psutil
    from playwright import sync_api
    from playwright.sync_api import expect
except ImportError:
    needed("playwright", "python -m pip install 'aetherfusion[test]'")
if CHROMIUM is None:
    needed("Chromium", "apt-get install chromium")

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of the pages are kept: $AETHERFUSION_SCREENSHOTS, if it is set."""
    named = os.environ.get("AETHERFUSION_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")  # Playwright's event loop must be gone before others begin
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextmanager
def new_page(chromium: Any, **options: Any) -> Iterator[Any]:
    """A page of a small projector's size that reaches this machine only; notes what goes wrong."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.route("**/*", _stay_here)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: _note(page, message))
    yield page
    context.close()


def _note(page: Any, message: Any) -> None:
    # A font that was not fetched, or a missing icon of the page, is no error of a widget.
    if message.type == "error" and "Failed to load resource" not in message.text:
        page.errors.append(message.text)


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
def server(command: list[str], port: int, folder: Path, **environment: str) -> Iterator[int]:
    """Runs a server until the end of the block; yields its process id once it listens."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **environment,
    }
    with (
        (folder / "server.log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait_for(port, process, folder / "server.log")
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"nobody listens at port {port}\n{log.read_text()}")


def kill_kernels(server: int) -> None:
    """As when the memory is full: the kernels of a server are gone without a word."""
    kernels = [
        child
        for child in psutil.Process(server).children(recursive=True)
        if any("ipykernel" in word for word in child.cmdline())
    ]
    assert kernels, "no kernel is running"
    for kernel in kernels:
        kernel.kill()


def notebook(cells: list[str]) -> str:
    """A notebook with these cells, as the text of its file."""
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
def jupyterlab(folder: Path) -> Iterator[tuple[str, int]]:
    """JupyterLab on a folder, without its news; yields its address and process id."""
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
    places = {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings")}
    places["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / ".workspaces")
    with server(command, port, folder, **places) as process:
        yield url, process


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


def pixels(image: Any) -> np.ndarray[Any, Any]:
    """What a picture on the page holds, (H, W, 3) bytes."""
    encoded = image.evaluate(
        """async image => {
            const blob = await (await fetch(image.src)).blob();
            return await new Promise(done => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(",")[1]);
                reader.readAsDataURL(blob);
            });
        }"""
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))


def wait_for_another(image: Any, source: str) -> None:
    """Waits until a picture on the page is not the one that had this source."""
    expect(image).not_to_have_attribute("src", source)
