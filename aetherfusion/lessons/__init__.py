"""What the notebooks share: methods taught one by one, figures with words, checks that explain.

Owns: `method_of`, `show`, `Live`, `results`, `run_check`, and what the checks say alike. Those of
each lesson live beside this file, in a module named after the room that the lesson builds.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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


def unlike(answer: Any, shape: Sequence[int], dtype: torch.dtype | None = None) -> str | None:
    """What is wrong with the kind or the shape of an answer, in words; None for nothing."""
    if not isinstance(answer, Tensor):
        return f"return a tensor; this is a {type(answer).__name__}"
    if tuple(answer.shape) != tuple(shape):
        return f"the shape should be {tuple(shape)}, yours is {tuple(answer.shape)}"
    if dtype is not None and answer.dtype != dtype:
        return f"the numbers should be of type {dtype}, yours are {answer.dtype}"
    if not bool(answer.isfinite().all()):
        return "there are values in it that are not finite"
    return None


def near(answer: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether two tensors have one shape and, but for so much, the same values."""
    if answer.shape != expected.shape:
        return False
    a, b = answer.detach().double(), expected.double()
    return torch.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True)


def compared(answer: Any, expected: Tensor, mistakes: dict[str, Tensor]) -> str | None:
    """None for the expected answer; else which mistake gives this one, if it is a known one."""
    if isinstance(answer, Tensor):
        if near(answer, expected, 2e-5):
            return None
        for words, mistake in mistakes.items():
            if near(answer, mistake, 2e-5):
                return words
    if wrong := unlike(answer, expected.shape):
        return wrong
    largest = (answer.detach().double() - expected.double()).abs().max()
    return f"the shape is right, the values are not; the largest difference is {largest:.2g}"
