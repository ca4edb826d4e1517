"""Touch a model: pick a class, and watch pictures of it come out of the noise.

>>> from aetherfusion.widgets import ClassPicker
>>> ClassPicker()

Owns: four widgets, a file each, and what is behind them: `panel.py` (what they have in common),
`looks.py` (their style sheet), `background.py` (work that can be stopped) and `stills.py` (pictures
as bytes). Lessons 02 and 06 build small ones by hand. Each shows itself as the last line of a cell,
in Jupyter, Colab and Voilà; `aetherfusion picker` makes a page of the first.
"""

from .attention_explorer import AttentionExplorer
from .class_picker import ClassPicker
from .guidance_explorer import GuidanceExplorer
from .scrubber import DenoisingScrubber

__all__ = ["AttentionExplorer", "ClassPicker", "DenoisingScrubber", "GuidanceExplorer"]
