"""Under `python -m pytest` each notebook is run; it must print what it stores."""

import os
from pathlib import Path

import pytest

# The data of a checkout that has it beside it; without any, the lessons say what they leave out.
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if BESIDE.exists():
    os.environ.setdefault("AETHERFUSION_DATA", str(BESIDE))


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Figures are compared by their alt texts."""
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))
