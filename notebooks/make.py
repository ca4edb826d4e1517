"""Keeps the notebooks in one form: run from top to bottom, stamped, no trace of a machine.

    python notebooks/make.py run                  # all of them, in place; about ten minutes
    python notebooks/make.py run 01 04            # those whose names begin so
    python notebooks/make.py stamp OWNER/REPO     # badges and set-up cells lead to this address
    python notebooks/make.py check-release        # fails while there is no address
    python notebooks/make.py pictures             # README's small picture of each lesson

Needs `pip install -e ".[notebooks,eval,test]"`. tests/test_notebooks.py holds the same form.
"""

import argparse
import base64
import io
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
#: The lessons for which Colab should lend a GPU; a free account has few hours of it.
GPU_LESSONS = ("05", "10")
COLAB = "https://colab.research.google.com"
BADGE = (
    f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]"
    f"({COLAB}/github/OWNER/REPO/blob/main/notebooks/NAME)"
)
SETUP = """\
# Finds the package: installed, next to this notebook, as a wheel, or at its public address.
import importlib.util
import sys
from pathlib import Path

ADDRESS = ""
if importlib.util.find_spec("aetherfusion") is None:
    drive = Path("/content/drive/MyDrive")  # where Colab mounts Google Drive
    folders = [Path(), Path(".."), Path("/content"), drive, drive / "aetherfusion"]
    packages = [folder for folder in folders if (folder / "aetherfusion" / "__init__.py").exists()]
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("aetherfusion-*.whl"))]
    if packages:
        sys.path.insert(0, str(packages[0].resolve()))
    elif wheels or ADDRESS:
        source = wheels[-1] if wheels else ADDRESS
        options = "--no-deps" if "google.colab" in sys.modules else ""  # Colab has the rest
        %pip install -q {options} {source}
    else:
        raise SystemExit(
            "Put the file aetherfusion-*.whl next to this notebook and run this cell again. "
            "`python -m pip wheel --no-deps .` in the project's folder makes it."
        )"""
#: What README says of Colab without an address, and with one.
UPLOAD = "upload a lesson and the one file that `python -m pip wheel --no-deps .` makes."
OPEN = f"open [lesson 00]({COLAB}/github/OWNER/REPO/blob/main/notebooks/00_start_here.ipynb)."
#: README's picture of each lesson: the figure, and the part of it: left, top, right, bottom.
PICTURES = {
    "00": (4, (0.03, 0.0, 1.0, 1.0)),
    "01": (4, (0.09, 0.03, 0.825, 0.825)),
    "02": (6, (0.205, 0.03, 1.0, 0.82)),
    "03": (3, (0.0, 0.0, 1.0, 1.0)),
    "04": (6, (0.05, 0.02, 1.0, 0.36)),
    "05": (5, (0.4, 0.0, 1.0, 1.0)),
    "06": (5, (0.1, 0.0, 1.0, 0.89)),
    "07": (6, (0.085, 0.07, 0.482, 0.855)),
}


def notebooks(beginnings: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of these; all of them for none."""
    found = sorted(HERE.glob("[0-9][0-9]_*.ipynb"))
    chosen = [p for p in found if p.name.startswith(tuple(beginnings or [""]))]
    if not chosen:
        raise SystemExit(f"no notebook begins with {' or '.join(beginnings)}")
    return chosen


def metadata(name: str) -> dict[str, object]:
    """The metadata of a notebook; those of `GPU_LESSONS` ask Colab for a GPU."""
    colab = {"provenance": [], "toc_visible": True}
    gpu = name.startswith(GPU_LESSONS)
    return {
        **({"accelerator": "GPU"} if gpu else {}),
        "colab": {"gpuType": "T4", **colab} if gpu else colab,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def tidy(notebook: nbformat.NotebookNode, name: str) -> None:
    """Takes out what changes from one run to the next and from one editor to another."""
    notebook.metadata = nbformat.from_dict(metadata(name))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:03d}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            output.get("metadata", {}).pop("jupyter", None)


def run(path: Path) -> None:
    """Executes a notebook in a fresh kernel and stores what it shows."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    resources = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(
        notebook, timeout=900, resources=resources, store_widget_state=False, coalesce_streams=True
    )
    client.execute()
    tidy(notebook, path.name)
    nbformat.write(notebook, path)
    size = path.stat().st_size
    print(f"{path.name}: {time.perf_counter() - started:.0f} s, {size / 1000:.0f} kB", flush=True)


def address_of(notebook: nbformat.NotebookNode) -> str:
    """The OWNER/REPO that the set-up cell of a notebook knows, or nothing."""
    setup = next(cell.source for cell in notebook.cells if "importlib.util" in cell.source)
    return re.search(r'^ADDRESS = "(?:git\+https://github.com/)?(.*)"$', setup, re.M)[1]


def stamp(address: str) -> None:
    """Writes the address into badges, set-up cells and the README; takes it out if it is empty."""
    if address and not re.fullmatch(r"[\w.-]+/[\w.-]+", address):
        raise SystemExit(f"expected OWNER/REPO, got {address}")
    source = f"git+https://github.com/{address}" if address else ""
    for path in notebooks([]):
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if not cell.source.startswith("[![Open in Colab]")]
        if address:
            badge = BADGE.replace("OWNER/REPO", address).replace("NAME", path.name)
            cells.insert(0, nbformat.v4.new_markdown_cell(badge))
        setup = next(cell for cell in cells if "importlib.util" in cell.source)
        setup.source = SETUP.replace('ADDRESS = ""', f'ADDRESS = "{source}"')
        notebook.cells = cells
        tidy(notebook, path.name)
        nbformat.write(notebook, path)
    text = README.read_text(encoding="utf-8")
    line = f"- **Colab**: {OPEN.replace('OWNER/REPO', address) if address else UPLOAD}"
    README.write_text(re.sub(r"- \*\*Colab\*\*: .*", lambda _: line, text), encoding="utf-8")
    print(f"The address is {address}." if address else "There is no address.")


def pictures() -> None:
    """Cuts README's pictures out of the stored figures, all of one size."""
    for path in notebooks(list(PICTURES)):
        number, box = PICTURES[path.name[:2]]
        text = path.read_text(encoding="utf-8")
        webp = re.findall(r'src=\\"data:image/webp;base64,([^"\\]+)', text)[number - 1]
        figure = Image.open(io.BytesIO(base64.b64decode(webp))).convert("RGB")
        sides = [part * side for part, side in zip(box, 2 * figure.size, strict=True)]
        tile = ImageOps.pad(figure.crop(sides), (400, 200), color="white")
        tile.save(README.parent / "docs" / "lessons" / f"{path.name[:2]}.png", optimize=True)


def check_release() -> None:
    """Fails unless every notebook leads to one public address."""
    found = {p.name: address_of(nbformat.read(p, as_version=4)) for p in notebooks([])}
    missing = [name for name, address in found.items() if not address]
    if missing or len(set(found.values())) > 1:
        names = ", ".join(missing or found)
        raise SystemExit(f"no address, or not the same, in {names}: make.py stamp OWNER/REPO")


def main() -> None:
    """Runs, stamps or checks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["run", "stamp", "check-release", "pictures"])
    parser.add_argument("what", nargs="*", help="beginnings of names to run; OWNER/REPO to stamp")
    args = parser.parse_args()
    if args.command == "stamp":
        stamp(*args.what or [""])
    elif args.command == "check-release":
        check_release()
    elif args.command == "pictures":
        pictures()
    else:
        for path in notebooks(args.what):
            run(path)


if __name__ == "__main__":
    sys.exit(main())
