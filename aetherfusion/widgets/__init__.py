"""Widgets for Jupyter: pick a class, follow an image out of the noise, explore guidance, attention.

No lesson builds these; lessons 02 and 06 build small ones by hand. `panel.py` holds what the four
have in common, `images.py` encodes images, and `style.css` is the style sheet of them all.

>>> from aetherfusion.widgets import ClassPicker
>>> ClassPicker()
"""

from .attention_explorer import AttentionExplorer
from .class_picker import ClassPicker
from .guidance_explorer import GuidanceExplorer
from .scrubber import DenoisingScrubber

__all__ = ["AttentionExplorer", "ClassPicker", "DenoisingScrubber", "GuidanceExplorer"]
