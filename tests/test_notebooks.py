"""The form of the notebooks. What they print is compared by nbval, see notebooks/conftest.py."""

from __future__ import annotations

import ast
import base64
import inspect
import io
import logging
import os
import re
import shutil
import sys
import types
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks need the extra 'test'")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "notebooks"))

import make  # noqa: E402

from aetherfusion.lessons import show  # noqa: E402

NOTEBOOKS = make.notebooks([])
LESSONS = [path for path in NOTEBOOKS if not path.name.startswith("00")]
#: What each lesson builds, all of it: classes and functions by their room.
TAUGHT = {
    "01": {"positional": ["sinusoid", "PositionalEncoding", "position_grid", "TimeEmbedding"]},
    "02": {"attention": ["MultiHeadSelfAttention", "modulate", "TransformerBlock"]},
    "03": {
        "unet": ["ResidualBlock", "ChannelNorm", "Downsample", "Upsample", "UNetWithAttention"],
        "model": ["DiffusionTransformerUNet"],
    },
    "04": {"diffusion": ["NoisePath", "_like", "FLOW", "COSINE", "sample_times"]},
    "05": {
        "data": ["ImageTensors", "make_loader"],
        "optimizer": [
            "orthogonalise",
            "MuonAdamW",
            "recommended_optimizer",
            "learning_rate_factor",
            "averaged_copy",
        ],
        "training": [
            "diffusion_loss",
            "own_rows",
            "gradient",
            "clip_and_check",
            "prepare",
            "mixed_seed",
            "seeded",
            "epoch_batches",
            "all_batches",
            "run_record",
            "finish",
            "training_steps",
            "train",
        ],
    },
    "06": {
        "sampling": ["time_grid", "guided", "ddim", "heun", "dpmpp_2m", "SamplerStep"],
        "generation": ["generate_images", "starting_noise", "Trajectory", "denoising_trajectory"],
    },
    "07": {
        "evaluation": [
            "softened",
            "nearest_pictures",
            "precision_and_recall",
            "frechet_distance",
            "kernel_distance",
            "judge_features",
            "RealPictures",
            "evaluate",
        ]
    },
}
ROOMS = dict(
    zip(
        TAUGHT,
        ["positional", "attention", "unet", "diffusion", "training", "generation", "evaluation"],
        strict=True,
    )
)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[Any]:
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if kind in (None, cell.cell_type)]


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def test_the_series_is_complete() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "00_start_here",
        "01_positional_encoding",
        "02_attention",
        "03_unet",
        "04_diffusion",
        "05_training_on_cuda",
        "06_generation",
        "07_evaluation",
    ]


# What is stored


@each
def test_it_was_run_once_from_top_to_bottom(path: Path) -> None:
    code = [cell for cell in cells(path, "code") if cell.source.strip()]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            # Warnings and progress bars belong to nobody's lesson.
            assert output.get("name") != "stderr", (cell.source, output.text)


@each
def test_no_stored_comparison_failed(path: Path) -> None:
    """What a lesson compares with the package or with itself agrees: else it stores its shame."""
    for cell in cells(path, "code"):
        for output in cell.outputs:
            for line in output.get("text", "").splitlines():
                assert not re.search(r"(equal|agrees?|alone|the others): *False", line), line


@each
def test_it_opens_everywhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == nbformat.from_dict(make.metadata(path.name))
    assert "widgets" not in notebook.metadata  # GitHub calls such a notebook invalid
    assert path.stat().st_size < 1_000_000
    assert [cell.id for cell in notebook.cells] == [
        f"cell-{i:03d}" for i in range(len(notebook.cells))
    ]


@each
def test_it_holds_nothing_of_a_machine(path: Path) -> None:
    for cell in cells(path):
        texts = [cell.source] + [
            output.get("text", "") or str(output.get("data", {}).get("text/plain", ""))
            for output in cell.get("outputs", [])
        ]
        for text in texts:
            assert not re.search(r"/(work|tmp|root|home|Users|farm)/", text), text
            assert not re.search(r"\bat 0x[0-9a-f]+", text), text


@each
def test_no_code_cell_is_long(path: Path) -> None:
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        limit = 60 if "assembles" in cell.metadata.get("tags", []) else 25
        assert len(lines) <= limit, f"{len(lines)} lines, from {lines[0]!r}"
        assert max(map(len, lines), default=0) <= 100, lines


# What a reader meets


@each
def test_it_opens_and_ends_like_the_others(path: Path) -> None:
    found = cells(path)
    if found[0].source.startswith("[![Open in Colab]"):  # once there is an address
        found = found[1:]
    assert re.match(r"# \d\d · ", found[0].source)
    text = prose(path)
    for words in ("You will be able to", "You need", "Time"):
        assert f"**{words}**" in text, words
    if path in LESSONS:
        for words in ("What is imported from now on", "Further reading", "Think and discuss"):
            assert words in text, words
        assert "Break it" in text


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the notebooks and the README, which make.py works on."""
    for path in [*NOTEBOOKS, ROOT / "README.md"]:
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(make, "HERE", tmp_path)
    monkeypatch.setattr(make, "README", tmp_path / "README.md")
    return tmp_path


def test_stamping_reaches_every_file_and_can_be_undone(copies: Path) -> None:
    make.stamp("some-body/some.where")
    make.check_release()
    stamped = {path.name: path.read_text("utf-8") for path in copies.iterdir()}
    for name, text in stamped.items():
        assert "github/some-body/some.where/blob/main/notebooks/" in text, name
        assert name == "README.md" or "git+https://github.com/some-body/some.where" in text, name
    make.stamp("")
    for path in [*NOTEBOOKS, ROOT / "README.md"]:
        assert "some-body" not in (copies / path.name).read_text("utf-8")
    with pytest.raises(SystemExit, match="no address"):
        make.check_release()
    with pytest.raises(SystemExit, match="expected OWNER/REPO"):
        make.stamp("nonsense")


def test_no_reader_sees_a_placeholder() -> None:
    for path in [*NOTEBOOKS, ROOT / "README.md"]:
        assert "OWNER/REPO" not in path.read_text("utf-8"), path.name


@each
def test_set_up_is_the_same_everywhere(path: Path) -> None:
    setups = [c.source for c in cells(path, "code") if "importlib.util" in c.source]
    address = make.address_of(nbformat.read(path, as_version=4))
    source = f"git+https://github.com/{address}" if address else ""
    assert setups == [make.SETUP.replace('ADDRESS = ""', f'ADDRESS = "{source}"')]


def set_up(folder: Path, colab: bool) -> tuple[str | None, list[str], list[str]]:
    """What the set-up cell says, installs and puts on the path, where nothing is installed."""
    installed: list[str] = []
    path: list[str] = []
    fake_sys = types.SimpleNamespace(path=path, modules={"google.colab": None} if colab else {})
    code = re.sub(r"%pip install (.*)", r"installed.append(f'\1')", make.SETUP)
    code = code.replace("import sys\n", "").replace(
        'importlib.util.find_spec("aetherfusion")', "None"
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(code, {"sys": fake_sys, "installed": installed})
    except SystemExit as error:
        return str(error), installed, path
    finally:
        os.chdir(before)
    return None, installed, path


def test_set_up_finds_the_package_a_wheel_or_says_what_is_missing(tmp_path: Path) -> None:
    lessons = tmp_path / "notebooks"
    lessons.mkdir()
    message, installed, path = set_up(lessons, False)
    assert message and "aetherfusion-*.whl" in message and not installed and not path
    (lessons / "aetherfusion-0.1.0-py3-none-any.whl").touch()
    for colab in (False, True):
        message, installed, path = set_up(lessons, colab)
        assert message is None and not path
        assert installed[0].endswith("aetherfusion-0.1.0-py3-none-any.whl")
        assert ("--no-deps" in installed[0]) == colab
    (tmp_path / "aetherfusion").mkdir()
    (tmp_path / "aetherfusion" / "__init__.py").touch()
    assert set_up(lessons, False) == (None, [], [str(tmp_path.resolve())])


@each
def test_every_figure_has_a_caption_and_words_for_the_blind(path: Path) -> None:
    found, number = cells(path), 0
    for i, cell in enumerate(found):
        pictures = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        for output in pictures:
            alt = output.metadata.get("image/png", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"cell {i}: no alt text"
        if pictures:
            number += 1
            after = next(c.source for c in found[i + 1 :] if c.cell_type == "markdown")
            assert after.startswith(f"*Figure {number}. "), f"cell {i}: {after[:60]!r}"


@each
def test_alt_texts_survive_nbconvert(path: Path) -> None:
    """On the page that nbconvert writes by default each picture has words of its own."""
    nbconvert = pytest.importorskip("nbconvert", reason="comes with JupyterLab")
    logging.getLogger("traitlets").setLevel(logging.ERROR)  # it warns of the badge
    page, _ = nbconvert.HTMLExporter(embed_images=False).from_filename(str(path))
    images = re.findall(r"<img\b[^>]*>", page)
    stored = sum(
        "image/png" in o.get("data", {}) for c in cells(path) for o in c.get("outputs", ())
    )
    assert stored and len(images) >= stored
    for image in images:
        (alt,) = re.findall(r"""\balt=["']([^"']+)["']""", image) or [""]
        assert alt and "No description" not in alt, image[:200]


def test_a_figure_is_sharp_and_keeps_its_size_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    images, shown = pytest.importorskip("PIL.Image"), []
    monkeypatch.setattr("IPython.display.display", lambda figure, **_: shown.append(figure))
    figure = figure_module.Figure(figsize=(4, 2))
    figure.subplots().plot([1, 2, 3])
    show(figure, alt='a line, "rising" < 4')
    data, metadata = shown[0]._repr_mimebundle_()
    assert metadata == {"image/png": {"alt": 'a line, "rising" < 4'}}
    alt, width, webp = re.fullmatch(
        r'<img alt="(.*?)" width="(\d+)" src="data:image/webp;base64,(.*)">',
        data["text/html"],
    ).groups()  # type: ignore[union-attr]
    assert alt == "a line, &quot;rising&quot; &lt; 4" and 300 < int(width) < 4 * 90
    sharp, small = (images.open(io.BytesIO(base64.b64decode(x))) for x in (webp, data["image/png"]))
    assert abs(sharp.width - 2 * int(width)) <= 2 and abs(small.width - int(width)) <= 2


@each
def test_links_are_well_formed_and_local_ones_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith("#"):
            continue
        if "://" in target:
            assert re.fullmatch(r"https://[\w.-]+(/\S*)?", target), target
        else:
            assert (path.parent / target.partition("#")[0]).exists(), target


# Symbols


def symbols() -> dict[str, str]:
    """The table of lesson 00: symbol to meaning."""
    rows = re.findall(r"^\| (\$.+?\$) \|.*\| (.+?) \|$", prose(NOTEBOOKS[0]), re.MULTILINE)
    return dict(rows)


def test_there_is_a_table_of_symbols() -> None:
    table = symbols()
    for symbol in ("$x_0$", r"$\varepsilon$", "$t$", "$x_t$", "$v$", "$s$"):
        assert symbol in table, symbol


@each_lesson
def test_no_symbol_is_redefined(path: Path) -> None:
    table = symbols()
    verbs = r"(?:is|are|means|denotes|stands for|be)"
    for symbol, meaning in table.items():
        words = set(re.findall(r"[a-z]{4,}", meaning.lower()))
        for said in re.findall(
            rf"{re.escape(symbol)} {verbs} (?:the|an?) ([^.;:$\n]+)", prose(path)
        ):
            shared = words & set(re.findall(r"[a-z]{4,}", said.lower()))
            assert shared, f"{symbol} is {meaning!r} in lesson 00, and here {said!r}"


# The class taught is the class imported


class _Bare(ast.NodeTransformer):
    """Takes out docstrings, and the decorator that teaches a class in pieces."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = [d for d in node.decorator_list if "method_of" not in ast.dump(d)]
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        return self._without_docstring(node)

    @staticmethod
    def _without_docstring(node: Any) -> Any:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        return node


def parts(source: str) -> dict[str, str]:
    """The functions, methods ("Class.name"), class heads and constants of a text, as trees."""
    found: dict[str, str] = {}
    for node in _Bare().visit(ast.parse(source)).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.dump(node)
        elif isinstance(node, ast.ClassDef):
            rest = []
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    found[f"{node.name}.{item.name}"] = ast.dump(item)
                elif not isinstance(item, ast.Pass):
                    rest.append(ast.dump(item))
            head = [ast.dump(part) for part in (*node.bases, *node.decorator_list)]
            found[node.name] = str((head, rest))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.dump(node.value)
    return found


def taught_parts(path: Path) -> dict[str, str]:
    """The parts of a notebook; a method taught apart is found under its class."""
    found: dict[str, str] = {}
    for cell in cells(path, "code"):
        source = re.sub(r"^( *)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
        owners = {
            node.name: owner
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)
            for owner in re.findall(
                r"method_of.*?id='(\w+)'", "".join(map(ast.dump, node.decorator_list))
            )[-1:]
        }
        for name, tree in parts(source).items():
            name = f"{owners[name]}.{name}" if name in owners else name
            if name not in found:  # what comes first is the lesson; exercises come after
                found[name] = tree
    return found


@each_lesson
def test_what_is_taught_is_what_is_imported(path: Path) -> None:
    taught = taught_parts(path)
    for room, names in TAUGHT[path.name[:2]].items():
        module = import_module(f"aetherfusion.{room}")
        package = parts(inspect.getsource(module))
        for name in names:
            wanted = [part for part in package if part == name or part.startswith(f"{name}.")]
            assert wanted, f"aetherfusion.{room} has no {name}"
            for part in wanted:
                assert part in taught, f"{part} of aetherfusion.{room} is not taught"
                assert taught[part] == package[part], f"{part} differs from aetherfusion.{room}"


# Exercises


def solutions(path: Path) -> list[str]:
    return re.findall(r"<summary>Solution</summary>\s+```python\n(.*?)```", prose(path), re.DOTALL)


@each_lesson
def test_it_has_exercises_with_hints_and_solutions(path: Path) -> None:
    text = prose(path)
    titles = [
        re.findall(rf"^### {kind} (\d+) · ", text, re.M) for kind in ("Your turn", "Exercise")
    ]
    for numbers in titles:  # on the way, and at the end
        assert numbers == [str(i + 1) for i in range(len(numbers))]
    number = sum(map(len, titles))
    assert len(titles[1]) >= 3 and text.count("<summary>Hint</summary>") >= number
    assert len(solutions(path)) == number
    assert text.count("<details>") == text.count("</details>")


def checks_called(path: Path) -> list[tuple[str, str]]:
    """(check, student's function) in the order of the notebook."""
    called = []
    for cell in cells(path, "code"):
        called += re.findall(r"^check\.(\w+)\((\w+)\)$", cell.source, re.MULTILINE)
    return called


@each_lesson
def test_solutions_are_right_and_stubs_are_not_written_yet(path: Path) -> None:
    room = import_module(f"aetherfusion.lessons.{ROOMS[path.name[:2]]}")
    called = checks_called(path)
    assert len(called) == len(solutions(path))
    for cell in cells(path, "code"):
        if re.search(r"^check\.\w+\(", cell.source, re.MULTILINE):
            said = "".join(output.get("text", "") for output in cell.outputs)
            assert said.startswith("Not written yet: "), said
    for (name, function), solution in zip(called, solutions(path), strict=True):
        namespace: dict[str, Any] = {}
        exec(
            "import math, torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
            "from aetherfusion import FLOW, NoisePath, sinusoid\n" + solution,
            namespace,
        )
        said = io.StringIO()
        with redirect_stdout(said):
            getattr(room, name)(namespace[function])
        assert said.getvalue().startswith("Right: "), (name, said.getvalue())
        assert said.getvalue().count("\n") == 1


@each_lesson
def test_checks_never_raise_and_never_accept_nonsense(path: Path) -> None:
    room = import_module(f"aetherfusion.lessons.{ROOMS[path.name[:2]]}")

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of the student")

    for name, _ in checks_called(path):
        for function in (fails, lambda *_, **__: "a word", lambda *a, **__: a[0] if a else 0):
            said = io.StringIO()
            with redirect_stdout(said):
                getattr(room, name)(function)
            assert said.getvalue().startswith("Not yet: "), (name, said.getvalue())
