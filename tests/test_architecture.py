"""The plan of the house: who may import whom, and what opening the door must not do."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aetherfusion

PACKAGE = Path(aetherfusion.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: DESIGN.md, section 1. A new room gets a line here; "*" may import everything.
ARROWS: dict[str, str] = {
    "positional": "",
    "attention": "",
    "diffusion": "",
    "optimization": "precision",
    "precision": "",
    "memory": "",
    "progress": "",
    "training_state": "writing",
    "download": "",
    "shapes": "",
    "writing": "",
    "_version": "",
    "data": "download shapes",
    "unet": "positional attention",
    "model": "positional unet",
    "batches": "",
    "training": "batches diffusion memory optimization precision progress training_state",
    "checkpoint": "model writing",
    "sampling": "diffusion",
    "generation": "data diffusion memory sampling",
    "plots": "data writing",
    "judge": "",
    "evaluation": "data judge model",
    "widgets": "checkpoint data generation plots sampling writing",
    "picker": "",
    "lessons": "*",
    "recipe": "*",
    "doctor": "*",
    "cli": "*",
    "__main__": "*",
    "__init__": "*",
}
#: These are asked for by name: `import aetherfusion` opens none of them.
APART = {"evaluation", "judge", "widgets", "picker", "lessons", "recipe", "doctor", "cli"}
APART |= {"__main__"}


def room(file: Path) -> str:
    """The part of the package that a file belongs to: its own name, or its folder's."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str, inside: tuple[str, ...]) -> set[str]:
    """Rooms of the package that `source`, a module of the folder `inside`, imports anywhere."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ("aetherfusion", *inside)
            base = start[: len(start) - node.level + 1] if node.level else ()
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from . import data` names a module, `from .data import x` does not.
            names += [f"{module}.{alias.name}" for alias in node.names]
    rooms = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == "aetherfusion":
            first = rest.partition(".")[0]
            rooms.add(first if first in ARROWS or (PACKAGE / f"{first}.py").exists() else "")
    return rooms


def test_the_reader_of_imports_reads() -> None:
    """The test below would pass if this saw nothing."""
    source = (
        "import torch, aetherfusion.cli\nfrom .data import x\nfrom . import plots\n"
        "def f():\n    from aetherfusion.unet import y\n    from aetherfusion import model\n"
    )
    assert imported_rooms(source, ()) == {"cli", "data", "plots", "unet", "model"}
    assert imported_rooms("from ..data import x\nfrom .unet import y", ("lessons",)) == {
        "data",
        "lessons",
    }
    assert imported_rooms("import aetherfusion\nfrom aetherfusion import train", ()) == {""}
    assert imported_rooms("import torch\nfrom os import path", ()) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_arrows(file: Path) -> None:
    name = room(file)
    assert name in ARROWS, f"a new room: say in ARROWS what {name} may import"
    if ARROWS[name] == "*":
        return
    inside = file.relative_to(PACKAGE).parts[:-1]
    found = imported_rooms(file.read_text(encoding="utf-8"), inside) - {name}
    allowed = set(ARROWS[name].split())
    assert found <= allowed, f"{name} may import {sorted(allowed)}, not {sorted(found - allowed)}"


def test_the_front_door_opens_no_room_apart() -> None:
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert not imported_rooms(source, ()) & APART


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_no_file_is_too_long(file: Path) -> None:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{file.name} has {lines} lines; a second idea hides in it"


IMPORT = """
import json, os, socket, sys

events = []

def refuse(*args, **kwargs):
    events.append("socket")
    raise OSError("no network in this test")

socket.socket.connect = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse

def audit(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "urllib.Request")):
        events.append(event)
    if event in ("os.mkdir", "os.rename", "os.remove") and watching:
        events.append(f"{event} {args[0]}")
    if event == "open" and watching:
        mode, flags = args[1], args[2]
        if (mode and set(str(mode)) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR):
            if str(args[0]) != os.devnull:
                events.append(f"open {args[0]}")

watching = False
sys.addaudithook(audit)
import torch, torchvision, accelerate, safetensors.torch, tqdm.auto  # what they do is theirs
before = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
watching = True
import aetherfusion
watching = False
after = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
same = before[:2] == after[:2] and torch.equal(before[2], after[2])
print(json.dumps({"modules": sorted(sys.modules), "events": events, "same": same}))
"""


def test_import_is_light_and_touches_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["events"] == [], "import touched the disk or the network"
    assert found["same"], "import changed torch's settings or its generator"
    assert not list(tmp_path.iterdir())
    heavy = "ipywidgets torchmetrics typer matplotlib.pyplot diffusers IPython scipy pandas"
    heavy += " " + " ".join(f"aetherfusion.{name}" for name in sorted(APART))
    assert not set(heavy.split()) & set(found["modules"])
    assert "aetherfusion.model" in found["modules"]


def test_public_names_exist_once() -> None:
    names = aetherfusion.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(aetherfusion, name), name
    seven = "PositionalEncoding TransformerBlock UNetWithAttention DiffusionTransformerUNet"
    seven += " train generate_images show_images"
    assert set(seven.split()) <= set(names)


@pytest.mark.parametrize("name", aetherfusion.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(aetherfusion, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        thing = type(thing)  # a constant: its class tells
        if thing.__module__ == "builtins":
            return
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert text and len(text.split()) > 3, f"{name} has no docstring"
    # What dataclasses write by themselves says nothing.
    assert not text.startswith(f"{thing.__name__}("), f"{name} has no docstring of its own"
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            if inspect.isfunction(value) and not method.startswith("_"):
                assert value.__doc__, f"{name}.{method} has no docstring"
