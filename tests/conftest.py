"""What all tests share: no network, no window, and CIFAR-10 where there is one."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Figures are drawn to memory, and no test may reach for a model hub.
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

REPOSITORY = Path(__file__).resolve().parent.parent
#: Where a checkout may have CIFAR-10.
PLACES = [REPOSITORY / "data", REPOSITORY.parent / "shared" / "data"]

# No test may download into the cache of the person who runs it. The lessons, which are run in the
# same process, find the data of the checkout by the same variable.
NOWHERE = TemporaryDirectory(prefix="aetherfusion-tests-")
FOUND = [str(place) for place in PLACES if (place / "cifar-10-batches-py").is_dir()]
os.environ.setdefault("AETHERFUSION_DATA", [*FOUND, NOWHERE.name][0])


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """A real CIFAR-10, where there is one: $AETHERFUSION_DATA, ./data or ../shared/data."""
    from aetherfusion.data import find_cifar10

    for place in (None, *PLACES):
        found = find_cifar10(place)
        if found is not None:
            return found.resolve()
    pytest.skip("no CIFAR-10 here: set AETHERFUSION_DATA to the folder that holds it")
