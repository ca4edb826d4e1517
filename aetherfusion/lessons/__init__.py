"""What the lessons share: figures with alt text, measured results, and the checks of exercises.

Every lesson uses it, and it implements no equation. The checks of a lesson are in the module named
after its subject; this file calls the student's function and describes what is wrong.
"""

import base64
import ctypes
import dis
import functools
import html
import inspect
import io
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor

#: The measurements that lesson 05 draws; tests/benchmarks writes them.
RESULTS = Path(__file__).parent / "results"


def results(name: str) -> dict[str, Any]:
    """What was measured, from `NAME.json` in `RESULTS`."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def method_of(owner: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes the function below it a method of a class, so that a class can be taught in pieces."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(owner, function.__name__, function)
        return function

    return add


class Live:
    """A figure that is redrawn in place while a cell runs; `alt` says what it shows."""

    def __init__(self, alt: str) -> None:
        self.alt = alt
        self.handle: Any = None

    def show(self, figure: Any, *, dpi: int = 90) -> None:
        """Replaces the figure shown before, and closes this one."""
        from IPython.display import display

        shown = _Shown(figure, self.alt, dpi)
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)


class _Shown:
    """A figure as HTML, where every front end keeps the alt text, and as a small PNG for PDFs."""

    def __init__(self, figure: Any, alt: str, dpi: int) -> None:
        from matplotlib import pyplot
        from PIL import Image

        images = []
        for times in (1, 2):
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=times * dpi, bbox_inches="tight")
            images.append(Image.open(file).convert("RGB"))
        pyplot.close(figure)
        few = images[0].quantize(256, Image.Quantize.FASTOCTREE)
        width = round(images[1].width * 90 / (2 * dpi))  # an inch is 90 pixels of a page
        webp, png = _encoded(images[1], "webp", lossless=True), _encoded(few, "png", optimize=True)
        src = f'width="{width}" src="data:image/webp;base64,{webp}"'
        page = f'<img alt="{html.escape(alt)}" {src}>'
        self.data = {"text/html": page, "image/png": png, "text/plain": alt}

    def _repr_mimebundle_(self, **_: Any) -> Any:
        return self.data, {"image/png": {"alt": self.data["text/plain"]}}


def _encoded(image: Any, format: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return base64.b64encode(file.getvalue()).decode()


def show(figure: Any, alt: str, *, dpi: int = 90) -> None:
    """Shows a matplotlib figure once, with `alt` for those who cannot see it, and closes it."""
    Live(alt).show(figure, dpi=dpi)


#: The right result, and wrong ones: {what is wrong: the result of that mistake, or a list of them}.
Table = tuple[Any, dict[str, Any]]


class NotYet(BaseException):  # so that no student's `except Exception` catches it
    """Says what is wrong with an answer; without words, that it is not written yet."""


def exercise(
    cases: Callable[[], list[Any]],
    *,
    run: Callable[..., Any] = lambda student, *case: student(*case),
    tolerance: float = 2e-5,
) -> Callable[[Callable[..., Table]], Callable[..., None]]:
    """Makes a check of the function below it, which computes the `Table` for one case.

    `cases()` gives the arguments of three or more cases of different sizes, none special, and
    `run(student, *case)` the result to compare: a number, a tensor, or a dict of these if several
    are returned in that order. It may be off by `tolerance`, relative to the largest value if that
    is above 1. The check prints one line about an answer.

    >>> @exercise(lambda: [torch.randn(1, *shape) for shape in ((3, 4), (5, 2), (2, 7))])
    ... def mean(x: Tensor) -> Table:
    ...     '''the mean over the batch'''
    ...     return x.mean(0), {"this is a sum; divide by the number of rows": x.sum(0)}
    """

    def decorate(table: Callable[..., Table]) -> Callable[..., None]:
        def judge(student: Student) -> None:
            tried: list[_Trial] = []
            for args in cases():
                case = dict(zip(inspect.signature(table).parameters, args, strict=True))
                trial = _Trial(case, *table(*args), tolerance)
                try:
                    tried.append(replace(trial, answer=run(student, *args)))
                except NotYet as wrong:
                    if not tried:
                        raise
                    words = f"{wrong} ({trial}; it works {tried[0]})"
                    raise NotYet(_diagnosis(tried) or words) from None
            if found := _diagnosis(tried):
                raise NotYet(found)
            for name, before, after in student.inputs:
                if isinstance(before, Tensor) and not torch.equal(before, after):
                    raise NotYet(f"right, but it changes `{name}`; use x = x + 1, not x += 1")

        @functools.wraps(table)
        def check(answer: Any, *, time_limit: float = 10.0) -> None:
            student, line = Student(answer, time_limit), f"Right: {table.__doc__}"
            try:
                with torch.random.fork_rng(devices=[]), redirect_stdout(student.printed):
                    torch.default_generator.manual_seed(0)
                    with _limit(time_limit):
                        judge(student)
            except NotYet as wrong:
                line = f"Not yet: {wrong}" if str(wrong) else f"Not written yet: {table.__doc__}"
            except (Exception, _TimeUp) as error:
                line = f"Not yet: the check itself failed, and not your answer: {_name(error)}"
            print(line)

        return check

    return decorate


@dataclass
class Student:
    """A student's function as a check calls it: on copies, and with its errors explained."""

    function: Any
    time_limit: float
    printed: io.StringIO = field(default_factory=io.StringIO)
    inputs: list[tuple[str, Any, Any]] = field(default_factory=list)

    def __call__(self, *args: Any, returns: bool = True) -> Any:
        """What the function returns; only if `returns` is true, that must not be None."""
        if not callable(self.function):
            raise NotYet(f"a function is wanted, and yours is a {type(self.function).__name__}")
        code = getattr(getattr(self.function, "forward", self.function), "__code__", None)
        copies = [x.clone() if isinstance(x, Tensor) else x for x in args]
        self.inputs += zip(code.co_varnames if code else (), args, copies, strict=False)
        try:
            answer = self.function(*copies)
        except (Exception, SystemExit, _TimeUp) as error:
            if isinstance(error, NotImplementedError) and "implemented for" not in str(error):
                raise NotYet from None  # a stub; torch says for what it has no implementation
            late = f"did not end within {self.time_limit:g} s"
            words = late if isinstance(error, _TimeUp) else f"raised {_name(error)}"
            raise NotYet(f"your function {words}{_line(error, code)}") from None
        if answer is None and code and {step.opname for step in dis.get_instructions(code)} <= STUB:
            raise NotYet
        if answer is None and returns:
            prints = "it prints its result; " if self.printed.getvalue() else ""
            raise NotYet(f"your function returns None; {prints}is a `return` missing?")
        return answer


#: All that a function does in which nothing is written, such as `return None`.
STUB = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".removesuffix(": ")


def _line(error: BaseException, code: CodeType | None) -> str:
    """The student's own line in which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    return f", in line {own[-1].lineno}: `{own[-1].line}`" if own else ""


class _TimeUp(BaseException):
    """A check has taken too long."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raises `_TimeUp` in this thread after so many seconds, on every system."""
    thread, interrupt = threading.get_ident(), ctypes.pythonapi.PyThreadState_SetAsyncExc
    arguments = ctypes.c_ulong(thread), ctypes.py_object(_TimeUp)
    timer = threading.Timer(seconds, interrupt, arguments)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        interrupt(arguments[0], None)  # in case the time was up at the last moment


@dataclass(frozen=True)
class _Trial:
    """The arguments of one case, the right result and known wrong ones, the student's answer."""

    case: dict[str, Any]
    right: Any
    wrongs: dict[str, Any]
    tolerance: float
    answer: Any = None

    def __str__(self) -> str:
        shapes = {n: tuple(v.shape) for n, v in self.case.items() if isinstance(v, Tensor)}
        words = [f"{name} of shape {shape}" for name, shape in shapes.items() if shape]
        words += [f"{n}={v:g}" for n, v in self.case.items() if isinstance(v, (int, float))]
        return "with " + ", ".join(words)

    def near(self, result: Any) -> bool:
        """Whether the answer is this up to rounding, or one of these."""
        if isinstance(result, list):
            return any(map(self.near, result))
        if _unlike(self.answer, result):
            return False
        a, r = _doubles(self.answer), _doubles(result)
        off = self.tolerance * max(1.0, float(r.nan_to_num(0, 0, 0).abs().max()))
        return torch.allclose(a.reshape(r.shape), r, rtol=0, atol=off)

    def part(self, index: int, name: str) -> "_Trial":
        """One of several results."""
        lists = {words: w if isinstance(w, list) else [w] for words, w in self.wrongs.items()}
        lists |= {f"this is {n}": [{name: r}] for n, r in self.right.items() if n != name}
        wrongs = {words: [w[name] for w in ws if name in w] for words, ws in lists.items()}
        return replace(self, right=self.right[name], wrongs=wrongs, answer=self.answer[index])


def _unlike(answer: Any, result: Any) -> str | None:
    """What is wrong with the kind, the shape or the type of an answer; None for nothing."""
    is_tensor = isinstance(answer, Tensor)
    kind = f"of shape {tuple(answer.shape)}" if is_tensor else f"of type {type(answer).__name__}"
    if not isinstance(result, Tensor) or not result.ndim:
        is_number = hasattr(answer, "__float__") and torch.as_tensor(answer).numel() == 1
        return None if is_number else f"a number is wanted, and yours is {kind}"
    if not is_tensor:
        return f"a tensor is wanted, and yours is {kind}"
    if answer.shape != result.shape:
        return f"the shape should be {tuple(result.shape)}, and yours is {tuple(answer.shape)}"
    if answer.is_floating_point() != result.is_floating_point():
        return f"the values should be of type {result.dtype}, and yours are {answer.dtype}"
    return None


def _doubles(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu()


def _diagnosis(tried: list[_Trial]) -> str | None:
    """What is wrong with the answers: a known mistake, else a property; None for nothing."""
    if isinstance(tried[0].right, dict):
        return _diagnosis_of_parts(tried)
    wrong = [one for one in tried if not one.near(one.right)]
    if not wrong:
        return None
    for words in tried[0].wrongs:
        if all(one.near(one.wrongs[words]) for one in tried):
            return words
    first, fine = wrong[0], [one for one in tried if one.near(one.right)]
    where = f", {first} (it is right {fine[0]})" if fine else ""
    tables = [_usual(one, len(wrong)) for one in wrong]
    for words in tables[0]:
        if all(words in t and one.near(t[words]) for one, t in zip(wrong, tables, strict=True)):
            return words + where
    if unlike := _unlike(first.answer, first.right):
        return unlike + where
    a, r = _doubles(first.answer), _doubles(first.right)
    if not a.isfinite().all():
        return f"some of your values are infinite or nan{where}"
    if not first.case:
        return f"{float(a):.4g} is not right"
    off = (a.reshape(r.shape) - r).abs()
    far = (off > first.tolerance * max(1.0, float(r.abs().max()))).nonzero()
    for axis, size in enumerate(r.shape):
        places = far[:, axis].unique().tolist()
        if len(places) < size:
            return f"your values are wrong at index {places} of axis {axis} only{where}"
    a, r = (x.flatten()[off.argmax()] for x in (a, r))
    return f"one of your values is {a:.4g} where {r:.4g} is right{where or f', {first}'}"


def _diagnosis_of_parts(tried: list[_Trial]) -> str | None:
    names, said = list(tried[0].right), {}
    for one in tried:
        is_single = not isinstance(one.answer, (list, tuple)) and not getattr(one.answer, "ndim", 0)
        if is_single or len(one.answer) != len(names):
            return f"{len(names)} results are wanted, ({', '.join(names)})"
        if all(part is None for part in one.answer):
            raise NotYet
    for index, name in enumerate(names):
        parts = [one.part(index, name) for one in tried]
        if words := "it is open" if parts[0].answer is None else _diagnosis(parts):
            said[name] = words
    return "; ".join(f"{name}: {words}" for name, words in said.items()) or None


def _usual(one: _Trial, cases: int) -> dict[str, Tensor]:
    """Mistakes that occur everywhere, as a table; a number in its words holds in all cases."""
    if not one.case or not isinstance(one.answer, (Tensor, int, float)):
        return {}
    a, r = _doubles(one.answer), _doubles(one.right)
    table = {"the sign is wrong": -r, "this is 1 minus the right result": 1 - r}
    for name in ("square", "sqrt", "abs", "exp", "log", "reciprocal"):
        table[f"this is the {name} of the right result"] = getattr(torch, name)(r)
    tensors = {name: v for name, v in one.case.items() if isinstance(v, Tensor) and v.ndim}
    table |= {f"this is `{name}` as it came": value for name, value in tensors.items()}
    sizes = {name: float(v) for name, v in one.case.items() if isinstance(v, (int, float))}
    sizes |= {f"{name}.shape[{i}]": n for name, v in tensors.items() for i, n in enumerate(v.shape)}
    sizes |= {f"sqrt({words})": abs(n) ** 0.5 for words, n in sizes.items()}
    for words, n in sizes.items():
        if n not in (0, 1):
            table[f"your result is {words} times too large"] = n * r
            table[f"your result is {words} times too small"] = r / n
    for axis in range(r.ndim):
        table[f"the right result is added up along axis {axis}"] = r.sum(axis)
        table[f"the right result is averaged along axis {axis}"] = r.mean(axis)
        table[f"the right result is reversed along axis {axis}"] = r.flip(axis)
        table |= {f"axes {i} and {axis} are exchanged": r.transpose(i, axis) for i in range(axis)}
    if a.shape == r.shape and a.isfinite().all() and r.numel() + cases > 3:
        factor, offset, start = (a * r).sum() / (r * r).sum(), (a - r).mean(), a.flatten()[0] + 0.0
        table[f"every value is {start:.4g}"] = start.expand_as(a)
        table[f"your result is {factor:.4g} times the right one"] = factor * r
        table[f"your result is off by {offset:+.4g} everywhere"] = r + offset
        if torch.allclose(a.flatten().sort().values, r.flatten().sort().values, 1e-4, 1e-4):
            table["all the right values are there, in the wrong places"] = a
    return table
