"""`aetherfusion picker`: where the page is served, and what is printed. See test_browser.py too."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from command_line import PATIENCE, Said, an_empty_folder, refused, run, weights  # noqa: F401

from aetherfusion.cli import main

voila = pytest.importorskip("voila", reason="the page needs the extra 'notebooks'")


def test_the_page_is_served_at_the_next_free_port_until_ctrl_c(weights: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        args = ["--no-browser", "--port", str(port), "--weights", weights]
        with run("picker", *args) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Serving http://127.0.0.1:") and f":{port}/" not in said
            with urlopen(said.split()[1], timeout=PATIENCE) as page:
                html = page.read().decode()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=PATIENCE)
    assert "Images out of noise" in html and "jupyter.widget-view" in html
    assert process.returncode == 0 and "Traceback" not in rest


@pytest.mark.parametrize(
    ("args", "words"),
    [(["--port", "0"], ["'--port'"]), (["--weights", "nowhere"], ["there is no model at nowhere"])],
)
def test_bad_options(args: list[str], words: list[str], capsys: Said) -> None:
    refused(["picker", "--no-browser", *args], capsys, *words)


def test_a_page_for_the_network_says_what_that_means(capsys: Said) -> None:
    assert main(["picker", "--no-browser", "--host", "192.0.2.7"]) == 2  # of no computer
    said = capsys.readouterr()
    assert "without a password" in said.out
    assert said.err == "Error: Cannot assign requested address\n"


@pytest.fixture(autouse=True)
def handlers_are_given_back() -> Iterator[None]:
    """Voila takes SIGTERM for itself; the tests after these must find it as it was."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
