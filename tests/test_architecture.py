"""The plan of the package: how long its parts are, who imports whom, how much of it is taught."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aetherfusion

PACKAGE = Path(aetherfusion.__file__).resolve().parent
NOTEBOOKS = PACKAGE.parent / "notebooks"
FILES = sorted(PACKAGE.rglob("*.py"))
#: The core modules in the order in which they may import each other.
CORE = [
    "positional", "attention", "diffusion", "unet", "model", "data", "optimizer", "training",
    "sampling", "generation", "evaluation", "checkpoint", "plots",
]  # fmt: skip
#: Lines of each part, docstrings and blank lines included.
#: The picker's page has 100 of `cli` and 250 of `widgets`.
BUDGET = {"core": 2250, "utils": 800, "cli": 550, "widgets": 1150, "lessons": 850}
#: Lines of that page's HTML, CSS and JavaScript, none longer than 100 characters.
PAGE_BUDGET = 490
#: The exercises that the budget of the lessons counts; each further one may take 20 lines.
EXERCISES = 27
#: `import aetherfusion` loads none of these.
APART = {"evaluation", "widgets", "lessons", "cli", "__main__"}


def part(file: Path) -> str:
    """The part of the package that a file belongs to."""
    folders = file.relative_to(PACKAGE).parts[:-1]
    return folders[0] if folders else "core"


@pytest.mark.parametrize("name", BUDGET)
def test_a_part_stays_within_its_budget(name: str) -> None:
    texts = [file.read_text("utf-8") for file in FILES if part(file) == name]
    lines, planned = sum(len(text.splitlines()) for text in texts), BUDGET[name]
    if name == "lessons":
        exercises = sum(text.count("\n@exercise(") for text in texts)
        planned += 20 * max(0, exercises - EXERCISES)
    assert lines <= planned, f"{name} has {lines} lines, {planned} are planned"


def test_the_page_stays_within_its_budget() -> None:
    files = sorted((PACKAGE / "cli" / "page").iterdir())
    assert [file.name for file in files] == ["index.html", "script.js", "style.css"]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    assert len(lines) <= PAGE_BUDGET and max(map(len, lines)) <= 100


def test_every_file_has_a_part() -> None:
    assert {part(file) for file in FILES} == set(BUDGET)
    names = {file.stem for file in FILES if part(file) == "core"}
    assert names == {*CORE, "__init__", "__main__", "_version"}


# Who imports whom


def imported(source: str, folders: tuple[str, ...]) -> set[str]:
    """The modules and parts that `source`, a file in these folders of the package, imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ("aetherfusion", *folders)
            base = start[: len(start) - node.level + 1] if node.level else ()
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from . import data` names a module, `from .data import x` does not.
            names += [f"{module}.{alias.name}" for alias in node.names]
    tops = (name.split(".")[1:2] for name in names if name.split(".")[0] == "aetherfusion")
    return {top[0] if top else "" for top in tops}


def test_the_reader_of_imports_reads() -> None:
    """The test below would pass if this saw nothing."""
    source = (
        "import torch, aetherfusion.cli\nfrom .data import x\nfrom . import plots\n"
        "def f():\n    from aetherfusion.unet import y\n    from aetherfusion import model\n"
    )
    assert imported(source, ()) == {"cli", "data", "plots", "unet", "model"}
    source = "from ..data import x\nfrom .unet import y\nfrom ..utils.files import z"
    assert imported(source, ("lessons",)) == {"data", "lessons", "utils"}
    assert imported("import torch\nfrom os import path", ()) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_lead_backwards(file: Path) -> None:
    home = part(file)
    allowed = {"utils", "_version"}
    if home == "core" and file.stem in CORE:
        allowed |= set(CORE[: CORE.index(file.stem)])
    elif home == "utils":
        allowed = {"utils"}
    elif home != "core":
        allowed |= {home, *CORE}
    elif file.stem == "__init__":
        allowed |= set(CORE) - APART
    elif file.stem == "__main__":
        allowed = {"cli"}
    else:
        allowed = set()
    found = imported(file.read_text("utf-8"), file.relative_to(PACKAGE).parts[:-1])
    assert found <= allowed, f"{file.name} must not import {sorted(found - allowed)}"


# How much of it is taught


def bare(node: ast.AST) -> str:
    """The syntax tree of a function without docstrings and without what makes it a method."""
    node = ast.parse(ast.unparse(node)).body[0]
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
            if ast.get_docstring(inner) is not None:
                inner.body = inner.body[1:] or [ast.Pass()]
            kept = [d for d in inner.decorator_list if "method_of" not in ast.dump(d)]
            inner.decorator_list = kept
    return ast.dump(node)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """Functions and methods, those inside other functions not counted by themselves."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            found.append(node)
        elif isinstance(node, ast.ClassDef):
            found += functions(node)
    return found


def code_lines(function: ast.FunctionDef, lines: list[str]) -> int:
    """Its lines without docstrings, comments and blank lines."""
    skipped: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            text = node.body[0]
            skipped |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return sum(
        bool(re.match(r"\s*[^\s#]", lines[number - 1]))
        for number in range(function.lineno, (function.end_lineno or 0) + 1)
        if number not in skipped
    )


def taught() -> set[str]:
    """The syntax trees of all functions in the code cells of the notebooks."""
    trees = set()
    for path in NOTEBOOKS.glob("[0-9]*.ipynb"):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                source = re.sub(r"^( *)[%!].*$", r"\1pass", "".join(cell["source"]), flags=re.M)
                trees |= {bare(function) for function in functions(ast.parse(source))}
    return trees


def test_most_of_the_core_is_taught() -> None:
    known = taught()
    total, by_lesson, missing = 0, 0, []
    sizes = {}
    for name in CORE:
        source = (PACKAGE / f"{name}.py").read_text("utf-8")
        for function in functions(ast.parse(source)):
            size = sizes[name, function.name] = code_lines(function, source.splitlines())
            total += size
            if bare(function) in known:
                by_lesson += size
            else:
                missing.append(f"{name}.{function.name} ({size})")
    share = by_lesson / total
    print(f"{by_lesson} of {total} lines are taught, {share:.0%}; not {', '.join(missing)}")
    assert share >= 0.6, missing
    assert sizes["training", "training_steps"] <= 70 and sizes["training", "train"] <= 40
    for name in ("training.train", "training.training_steps", "generation.generate_images"):
        assert not [m for m in missing if m.startswith(f"{name} ")], f"{name} is not taught"


# What importing does


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
import torch, torch.distributed, torchvision, safetensors.torch, tqdm.auto  # what they do is theirs
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
    heavy = "ipywidgets torchmetrics typer matplotlib.pyplot diffusers IPython scipy pandas pooch"
    heavy += " " + " ".join(f"aetherfusion.{name}" for name in sorted(APART))
    assert not set(heavy.split()) & set(found["modules"])
    assert "aetherfusion.model" in found["modules"]


# Public names


def test_public_names_exist_once_and_hide_nothing() -> None:
    names = aetherfusion.__all__
    assert len(names) == len(set(names)) <= 25
    for name in names:
        assert hasattr(aetherfusion, name), name
    seven = "PositionalEncoding TransformerBlock UNetWithAttention DiffusionTransformerUNet"
    seven += " train generate_images show_images"
    assert set(seven.split()) <= set(names)
    assert "Path" not in names, "`from aetherfusion import *` must not hide pathlib.Path"


EARLIER = """
CIFAR10_CLASSES COSINE FLOW SHAPES10_CLASSES DiffusionTransformerUNet History ImageTensors
MultiHeadSelfAttention Path PositionalEncoding Step TimeEmbedding Trajectory TransformerBlock
UNetWithAttention ddim denoising_trajectory dpmpp_2m from_unit generate_images guided heun
load_cifar10 load_model load_pretrained load_shapes10 make_loader position_grid
recommended_optimizer sample_times save_images save_model show_images sinusoid time_grid to_unit
train training_steps
"""


def test_every_earlier_name_can_still_be_imported() -> None:
    missing = [name for name in EARLIER.split() if not hasattr(aetherfusion, name)]
    assert missing == []
    assert aetherfusion.Path is aetherfusion.NoisePath
    from aetherfusion.cli import main
    from aetherfusion.generation import label_numbers

    assert callable(main) and callable(label_numbers)


@pytest.mark.parametrize("name", EARLIER.split())
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(aetherfusion, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        thing = type(thing)  # a constant: its class has the words
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
