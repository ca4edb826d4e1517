"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Figures are drawn to memory, and no test may reach for a model hub.
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """A real CIFAR-10, where there is one: $AETHERFUSION_DATA, ./data or ../shared/data."""
    from aetherfusion.data import find_cifar10

    for place in (None, REPOSITORY / "data", REPOSITORY.parent / "shared" / "data"):
        found = find_cifar10(place)
        if found is not None:
            return found.resolve()
    pytest.skip("no CIFAR-10 here: set AETHERFUSION_DATA to the folder that holds it")
