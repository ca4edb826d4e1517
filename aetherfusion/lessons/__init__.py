"""What the notebooks share: methods taught one by one, figures with words, checks that explain.

Owns: `method_of`, `show` and `run_check`. The checks of each lesson's exercises live beside this
file, in a module named after the room that the lesson builds.
"""

import io
from collections.abc import Callable
from typing import Any


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
    from matplotlib import pyplot

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, bbox_inches="tight")
    pyplot.close(figure)
    display(Image(png.getvalue(), format="png", metadata={"alt": alt}))


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
