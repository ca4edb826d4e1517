"""The class-picker as a web page: `aetherfusion picker`. No lesson builds it.

`server.py` serves the page, whose files are in the folder `page`.
"""

from pathlib import Path
from typing import Annotated

from typer import Option

from ..checkpoint import load_model, load_pretrained
from ..utils.hardware import best_device

Weights = Annotated[Path | None, Option(help="A model file, instead of the pretrained model.")]


def picker(
    weights: Weights = None,
    host: Annotated[str, Option(help="0.0.0.0 opens the page to the network.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Or the next free one.")] = 8866,
    browser: Annotated[bool, Option(help="Open the page here.")] = True,
) -> None:
    """Show a web page on which classes are picked; F11 suits a projector."""
    model = load_pretrained() if weights is None else load_model(weights)
    from .server import Site  # needs tornado, which an install for drawing alone does not have

    Site(model.to(best_device()), host).serve(port, browser)
