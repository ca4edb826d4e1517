"""What the notebooks share: methods taught one by one, figures with words, checks that explain.

Owns: `method_of`, `show`, `Live`, `results` and `run_check`. The checks of each lesson live beside
this file, in a module named after the room that the lesson builds.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What was measured, and lesson 05 draws; tests/benchmarks writes it.
RESULTS = Path(__file__).parent / "results"


def method_of(owner: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes the function below it a method of a class, so that a class can be taught in pieces.

    >>> @method_of(TransformerBlock)
    ... def forward(self, x): ...
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(owner, function.__name__, function)
        return function

    return add


def show(figure: Any, alt: str, *, dpi: int = 90) -> None:
    """Shows a matplotlib figure once, with words for those who cannot see it, and closes it.

    Args:
        figure: the figure.
        alt: what it shows, in a sentence.
        dpi: dots per inch; more is larger.
    """
    from IPython.display import Image, display

    display(Image(_png(figure, dpi), format="png", metadata={"alt": alt}))


class Live:
    """A figure on the page that is drawn anew while a cell works.

    >>> live = Live("the loss so far")
    >>> for step in steps:
    ...     live.show(draw(history))

    Args:
        alt: what it shows, in a sentence.
    """

    def __init__(self, alt: str) -> None:
        self.alt, self.png = alt, b""
        self.handle: Any = None

    def show(self, figure: Any, *, dpi: int = 90) -> None:
        """Puts a figure where the one before was, and closes it."""
        from IPython.display import display

        self.png = _png(figure, dpi)
        if self.handle is None:
            self.handle = display(self, display_id=True)
        else:
            self.handle.update(self)

    # Front ends ask for these two; the words are the same every time, which nbval insists on.
    def __repr__(self) -> str:
        return "a live figure"

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.png, {"alt": self.alt}


def _png(figure: Any, dpi: int) -> bytes:
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    pyplot.close(figure)
    return file.getvalue()


def results(name: str) -> dict[str, Any]:
    """What was measured, from `NAME.json` in `RESULTS`."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def run_check(what: str, student: Callable[[], Any], judge: Callable[[Any], str | None]) -> None:
    """Runs a student's work and prints one line about it; never raises.

    Args:
        what: what was compared, for the line "Right: ...".
        student: calls the student's function on the check's inputs and returns its answer.
        judge: looks at the answer, which is not None, and returns None if it is right, else what
            is wrong with it, in words.
    """
    try:
        answer = student()
        wrong = None if answer is None else judge(answer)
    except Exception as error:  # the student's code may do anything
        print(f"Not yet: your function raised {type(error).__name__}: {error}")
        return
    if answer is None:
        print(f"Not written yet: {what}")
    elif wrong is None:
        print(f"Right: {what}")
    else:
        print(f"Not yet: {wrong}")
