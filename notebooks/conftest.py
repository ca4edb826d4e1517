"""Under `python -m pytest` each notebook is run; it must print what it stores, and again if rerun.

A cell that takes less than a second is run twice, and once more after the last cell: readers go
back, and a cell must show the same in any later state of the notebook.
"""

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

# The data of a checkout that has it beside it; without any, the lessons say what they leave out.
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if BESIDE.exists():
    os.environ.setdefault("AETHERFUSION_DATA", str(BESIDE))


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Figures are compared by their alt texts."""
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Runs a quick cell a second time; after the last cell, all quick ones again."""
    notebook = item.parent
    if not hasattr(notebook, "kernel"):  # not a cell of a notebook
        return (yield)
    start = time.monotonic()
    result = yield
    quick = vars(notebook).setdefault("quick_cells", [])
    if time.monotonic() - start < 1:
        item.runtest()
        quick.append(item)
    cells = [other for other in item.session.items if other.parent is notebook]
    if item is cells[-1]:
        failed = [cell.name for cell in quick if not repeats(cell)]
        assert not failed, f"run again at the end, these print something else: {failed}"
    return result


def repeats(cell: pytest.Item) -> bool:
    """Whether a cell prints once more what it stores."""
    try:
        cell.runtest()
    except Exception:
        return False
    return True
