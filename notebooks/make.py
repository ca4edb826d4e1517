"""Keeps the notebooks in one form: run from top to bottom, stamped, no trace of a machine.

    python notebooks/make.py run                  # all of them, in place; about ten minutes
    python notebooks/make.py run 01 04            # those whose names begin so
    python notebooks/make.py stamp OWNER/REPO     # where Colab and the badges shall find them

Needs `pip install -e ".[notebooks,eval,test]"`. tests/test_notebooks.py holds the same form.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": [], "toc_visible": True},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
#: What stands for the address until there is one, and what `stamp` looks for.
ADDRESS = re.compile(r"(?<=github\.com/)([\w.-]+/[\w.-]+?)(?=\.git|/blob/|@|[)\s\"'#]|$)")
COLAB = re.compile(r"(?<=colab\.research\.google\.com/github/)([\w.-]+/[\w.-]+)(?=/blob/)")
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/{name})"
)
SETUP = """\
# Installs the package where it is missing: in Colab, say. Elsewhere it does nothing.
import importlib.util
import sys

if importlib.util.find_spec("aetherfusion") is None:
    options = "--no-deps" if "google.colab" in sys.modules else ""  # Colab has the rest
    %pip install -q {options} git+https://github.com/OWNER/REPO"""


def notebooks(beginnings: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of these; all of them for none."""
    found = sorted(HERE.glob("[0-9][0-9]_*.ipynb"))
    chosen = [p for p in found if p.name.startswith(tuple(beginnings or [""]))]
    if not chosen:
        raise SystemExit(f"no notebook begins with {' or '.join(beginnings)}")
    return chosen


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Takes out what changes from one run to the next and from one editor to another."""
    notebook.metadata = nbformat.from_dict(METADATA)
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
    tidy(notebook)
    nbformat.write(notebook, path)
    size = path.stat().st_size
    print(f"{path.name}: {time.perf_counter() - started:.0f} s, {size / 1000:.0f} kB", flush=True)


def stamp(address: str) -> None:
    """Writes the address into the badges, the set-up cells and the README."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", address):
        raise SystemExit(f"expected OWNER/REPO, got {address}")
    for path in [*notebooks([]), README]:
        text = path.read_text(encoding="utf-8")
        for pattern in (ADDRESS, COLAB):
            text = pattern.sub(address, text)
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {address}")


def main() -> None:
    """Runs or stamps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["run", "stamp"])
    parser.add_argument("what", nargs="*", help="beginnings of names to run; OWNER/REPO to stamp")
    args = parser.parse_args()
    if args.command == "stamp":
        stamp(*args.what)
        return
    for path in notebooks(args.what):
        run(path)


if __name__ == "__main__":
    sys.exit(main())
