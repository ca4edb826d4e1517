"""The page for the room: what is served, to whom, and what is said. More in test_browser.py."""

from __future__ import annotations

import json
import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from command_line import Said, an_empty_folder, refused, weights  # noqa: F401

from aetherfusion.cli import main, picker

Launched = list[dict[str, Any]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    """What a Voilà is started with that ends at once."""
    starts: Launched = []

    def launch(arguments: list[str]) -> None:
        notebook, *options = arguments
        parts = dict(option.removeprefix("--Voila.").split("=") for option in options)
        starts.append({**parts, "notebook": json.loads(Path(notebook).read_text())})

    module: Any = types.ModuleType("voila.app")
    module.Voila = types.SimpleNamespace(launch_instance=launch)
    monkeypatch.setitem(sys.modules, "voila", types.ModuleType("voila"))
    monkeypatch.setitem(sys.modules, "voila.app", module)
    return starts


def code(start: dict[str, Any]) -> str:
    _, cell = start["notebook"]["cells"]
    return str(cell["source"])


@pytest.fixture
def taken() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_only_this_computer_unless_told_otherwise(launched: Launched, capsys: Said) -> None:
    assert main(["picker", "--port", "18866"]) == 0
    said = capsys.readouterr().out
    (start,) = launched
    assert start["ip"] == "127.0.0.1" and start["open_browser"] == "True"
    assert f"http://127.0.0.1:{start['port']}/" in said and "Ctrl-C" in said
    assert "Only this computer can open it." in said


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "http://127.0.0.1:"), ("::", "http://[::1]:")]
)
def test_open_to_the_network_is_said_with_what_it_means(
    host: str, address: str, launched: Launched, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(picker, "_free_port", lambda host, port: port)  # no IPv6 here, perhaps
    assert main(["picker", "--host", host, "--no-browser"]) == 0
    said = capsys.readouterr().out
    assert launched[0]["ip"] == host and launched[0]["open_browser"] == "False"
    assert address in said and "Only this computer" not in said
    assert "without a password and unencrypted" in said


def test_a_page_that_nobody_shows_any_more_gives_its_memory_back(launched: Launched) -> None:
    assert main(["picker", "--port", "18866"]) == 0
    (start,) = launched
    idle, every = (
        int(start[f"--MappingKernelManager.cull_{name}"]) for name in ("idle_timeout", "interval")
    )
    assert 60 <= idle <= 3600 and 0 < every < idle


def test_a_taken_port_is_passed_over(taken: int, launched: Launched) -> None:
    assert main(["picker", "--port", str(taken)]) == 0
    assert int(launched[0]["port"]) > taken


def test_the_notebook_makes_the_widget(
    launched: Launched, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr("aetherfusion.widgets.ClassPicker", lambda *a, **k: made.append((a, k)))
    assert main(["picker", "--weights", weights]) == 0
    exec(code(launched[0]))
    ((model,), options), *_ = made
    assert model.config["embedding_dim"] == 8 and options == {"folder": str(Path.cwd())}
    assert main(["picker"]) == 0
    assert "ClassPicker(None, " in code(launched[-1])


def test_its_folder_is_gone_afterwards(
    launched: Launched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    assert main(["picker"]) == 0
    assert sorted(tmp_path.iterdir()) == before


def test_without_voila_it_says_what_to_install(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "voila", None)
    monkeypatch.setitem(sys.modules, "voila.app", None)
    refused(["picker"], capsys, "Voilà", "python -m pip install 'aetherfusion[notebooks]'")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--host", "192.0.2.7"], ["no address '192.0.2.7'", "0.0.0.0"]),
        (["--host", "nowhere.invalid"], ["no address 'nowhere.invalid'"]),
        (["--port", "0"], ["'--port'"]),
        (["--weights", "nowhere"], ["there is no model at nowhere"]),
    ],
)
def test_bad_options(args: list[str], words: list[str], launched: Launched, capsys: Said) -> None:
    refused(["picker", *args], capsys, *words)
    assert launched == []


def test_no_port_is_free(launched: Launched, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    refused(["picker", "--port", "80"], capsys, "no port from 80 on is free", "--port")
