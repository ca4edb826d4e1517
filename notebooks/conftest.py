"""Under `python -m pytest` each notebook is run; it must print what it stores."""

import os
from pathlib import Path

# The data of a checkout that has it beside it; without any, the lessons say what they leave out.
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if BESIDE.exists():
    os.environ.setdefault("AETHERFUSION_DATA", str(BESIDE))
