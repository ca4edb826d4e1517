"""The command line: `aetherfusion generate`, `train`, `evaluate`, `picker` and `doctor`."""

from .main import main as main
