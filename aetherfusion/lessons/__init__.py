"""What the notebooks share: figures with alt text, measured results, and the checks of exercises.

Every lesson uses it. The checks of a lesson are in the module named after its subject, one function
under `exercise` each; this file runs the student's code and finds words for what is wrong.
"""

import contextlib
import ctypes
import dis
import functools
import inspect
import io
import itertools
import json
import linecache
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

#: What was measured, and lesson 05 draws; tests/benchmarks writes it.
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


def show(figure: Any, alt: str, *, dpi: int = 90) -> None:
    """Shows a matplotlib figure once, with `alt` for those who cannot see it, and closes it."""
    from IPython.display import Image, display

    display(Image(_png(figure, dpi), format="png", metadata={"alt": alt}))


class Live:
    """A figure that is redrawn in place while a cell runs; `alt` says what it shows."""

    def __init__(self, alt: str) -> None:
        self.alt, self.png = alt, b""
        self.handle: Any = None

    def show(self, figure: Any, *, dpi: int = 90) -> None:
        """Replaces the figure shown before, and closes this one."""
        from IPython.display import display

        self.png = _png(figure, dpi)
        if self.handle is None:
            self.handle = display(self, display_id=True)
        else:
            self.handle.update(self)

    def __repr__(self) -> str:  # the same every time, because nbval compares it
        return "a live figure"

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.png, {"alt": self.alt}


def _png(figure: Any, dpi: int) -> bytes:
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    pyplot.close(figure)
    return file.getvalue()


#: The right result, and wrong ones: {what is wrong: the result of that mistake, or a list of them}.
Table = tuple[Any, dict[str, Any]]
Check = Callable[..., None]


class NotYet(Exception):
    """Says what is wrong with an answer."""


def exercise(
    cases: Callable[[], list[tuple[Any, ...]]],
    *,
    run: Callable[..., Any] = lambda student, *case: student(*case),
    tolerance: float = 2e-5,
) -> Callable[[Callable[..., Table]], Check]:
    """Makes a check of the function below it, which computes the `Table` for one case.

    The check prints one line about an answer, which begins with the docstring if it is right. A
    result is a number, a tensor, or a dict of these if several are returned in that order.

    >>> @exercise(lambda: [draws(1, 3, 4), draws(1, 5, 2), draws(1, 2, 7)])
    ... def mean(x: Tensor) -> Table:
    ...     '''the mean over the batch'''
    ...     return x.mean(0), {"this is a sum; divide by the number of rows": x.sum(0)}

    Args:
        cases: gives the arguments to try: three or more, of different sizes, none special.
        run: `run(student, *case)` gives the result to compare; it may raise `NotYet`.
        tolerance: how far a result may be off, relative to the largest of its values.
    """

    def decorate(table: Callable[..., Table]) -> Check:
        def judge(student: Student) -> None:
            tried: list[_Tried] = []
            for args in cases():
                right, wrongs = table(*args)
                case = dict(zip(inspect.signature(table).parameters, args, strict=True))
                lists = {words: w if isinstance(w, list) else [w] for words, w in wrongs.items()}
                flat = {(words, i): w for words, ws in lists.items() for i, w in enumerate(ws)}
                one = _Tried(case, None, right, flat, tolerance)
                try:
                    tried.append(replace(one, answer=run(student, *args)))
                except NotYet as wrong:
                    if not str(wrong) or not tried:
                        raise
                    where = f" ({one}; it works {tried[0]})"
                    raise NotYet(_diagnosis(tried) or f"{wrong}{where}") from None
            if words := _diagnosis(tried):
                raise NotYet(words)
            for name, before, after in student.watched:
                if not _same(before, after):
                    raise NotYet(
                        f"the result is right, but your function changes `{name}` itself, which "
                        "others may need; x = x + 1 makes a new tensor, x += 1 does not"
                    )

        @functools.wraps(table)
        def check(answer: Any, *, time_limit: float = 10.0) -> None:
            student, line = Student(answer, time_limit), f"Not written yet: {table.__doc__}"
            code = _code(answer)
            try:
                with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(student.printed):
                    torch.default_generator.manual_seed(0)
                    with _limit(time_limit):
                        if answer is not None and (code is None or _used(code)):
                            judge(student)
                            line = f"Right: {table.__doc__}"
            except NotYet as wrong:
                line = f"Not yet: {wrong}" if str(wrong) else line
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
    watched: list[tuple[str, Any, Any]] = field(default_factory=list)

    def __call__(self, *args: Any, returns: bool = True) -> Any:
        """What the function returns; a function that it returns is called in the same way."""
        if not callable(self.function):
            if args:
                raise NotYet("give the check your function itself, not a result of it")
            return self.function
        copies, code = _copy(args), _code(self.function)
        names = [*(code.co_varnames if code else ()), *["an input"] * len(args)]
        self.watched += zip(names, args, copies, strict=False)
        try:
            answer = self.function(*copies)
        except NotYet:
            raise
        except _TimeUp as error:
            line = self._line(error, "while ", "for ")
            raise NotYet(f"your function did not end within {self.time_limit:g} s{line}") from None
        except (Exception, SystemExit) as error:
            if isinstance(error, NotImplementedError) and "implemented for" not in str(error):
                raise NotYet from None  # a stub; torch says for what it has no implementation
            raise NotYet(f"your function raised {_name(error)}{self._line(error)}") from None
        if answer is None and returns:
            prints = "it prints its result; " if self.printed.getvalue() else ""
            raise NotYet(f"your function returns None; {prints}is a `return` missing?")
        return replace(self, function=answer) if isinstance(answer, FunctionType) else answer

    def _line(self, error: BaseException, *keywords: str) -> str:
        """The student's own line that raised an error, or the next one above with a keyword."""
        code = _code(self.function)
        for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
            if code and (file := frame.f_code.co_filename) == code.co_filename:
                above = range(number, frame.f_code.co_firstlineno - 1, -1)
                lines = {n: linecache.getline(file, n).strip() for n in above}
                found = (n for word in keywords for n in above if lines[n].startswith(word))
                number = next(found, number)
                return f", in line {number}: `{lines[number]}`"
        return ""


class _TimeUp(BaseException):
    """A check has taken too long; no `except Exception` of a student catches it."""


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raises `_TimeUp` in this thread after so many seconds, and each second from then on.

    It works in every thread and on every system; an alarm signal does neither.
    """
    thread, over = ctypes.c_ulong(threading.get_ident()), threading.Event()
    interrupt = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        pause = seconds
        while not over.wait(pause):
            interrupt(thread, ctypes.py_object(_TimeUp))
            pause = 1.0

    (watcher := threading.Thread(target=watch, daemon=True)).start()
    try:
        yield
    finally:
        try:
            over.set()
        finally:  # again, in case it was interrupted at the last moment
            over.set()
            watcher.join()
            interrupt(thread, None)


def _code(answer: Any) -> CodeType | None:
    return getattr(getattr(answer, "forward", answer), "__code__", None)


def _used(code: CodeType) -> set[Any]:
    """The names, parameters and constants that a function works with; a stub has none."""
    num = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 0x0C).bit_count()  # *, **
    used = set(code.co_names)
    for step in dis.get_instructions(code):
        constant = "CONST" in step.opname or "SMALL_INT" in step.opname
        used |= {step.opname} if "JUMP" in step.opname else set()  # a loop
        for value in step.argval if isinstance(step.argval, tuple) else (step.argval,):
            if isinstance(value, CodeType):
                used |= _used(value)
            elif value in code.co_varnames[:num] or (constant and "<locals>" not in str(value)):
                used.add(value)
    return used - {None, ..., NotImplementedError, "NotImplementedError"}


def _copy(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_copy, value))
    return value.clone() if isinstance(value, Tensor) else value


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    return not isinstance(before, Tensor) or torch.equal(before, after)


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".removesuffix(": ")


def draws(count: int, *shape: int, dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
    """So many tensors of normal random numbers, the same at every call."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(count, *shape, generator=generator, dtype=dtype).unbind()


@dataclass(frozen=True)
class _Tried:
    """The answer to one case, and what it is compared with."""

    case: dict[str, Any]
    answer: Any
    right: Any
    wrongs: dict[Any, Any]
    tolerance: float

    def __str__(self) -> str:
        sizes = {n: v.shape for n, v in self.case.items() if isinstance(v, Tensor) and v.ndim}
        words = [f"{n}={v:g}" for n, v in self.case.items() if isinstance(v, (int, float))]
        return "with " + ", ".join([f"{n} of shape {tuple(v)}" for n, v in sizes.items()] + words)

    def near(self, result: Any) -> bool:
        """Whether the answer has the kind, the shape and, up to rounding, the values of this."""
        if isinstance(result, dict):
            return all(part.near(result[name]) for name, part in self.parts().items())
        if result is None or self.unlike(result):
            return False
        a, r = _doubles(self.answer), _doubles(result)
        largest = max([0.05, *r[r.isfinite()].abs().flatten().tolist()])
        return torch.allclose(a.reshape(r.shape), r, 0, self.tolerance * largest, equal_nan=True)

    def unlike(self, result: Any) -> str | None:
        """What is wrong with the kind, the shape or the type of the answer; None for nothing."""
        a, is_tensor = self.answer, isinstance(self.answer, Tensor)
        kind = f"of shape {tuple(a.shape)}" if is_tensor else f"of type {type(a).__name__}"
        if not isinstance(result, Tensor) or not result.ndim:
            single = a.numel() == 1 if is_tensor else getattr(a, "size", 1) == 1
            is_number = single and (is_tensor or hasattr(a, "__float__"))
            return None if is_number else f"a number is wanted, and yours is {kind}"
        if not is_tensor:
            return f"a tensor is wanted, and yours is {kind}"
        if a.shape != result.shape:
            hints = (
                {1: "; join some axes", -1: "; split an axis"}
                if a.numel() == result.numel()
                else {}
            )
            hint = hints.get((a.ndim > result.ndim) - (a.ndim < result.ndim), "")
            return f"the shape should be {tuple(result.shape)}, and yours is {tuple(a.shape)}{hint}"
        fine = (torch.float32, torch.float64) if result.is_floating_point() else (result.dtype,)
        right_type = f"the values should be of type {result.dtype}, and yours are {a.dtype}"
        return None if a.dtype in fine else right_type

    def parts(self) -> dict[str, "_Tried"]:
        """The parts of a result that has several, by their names."""
        table = {n: {k: w[n] for k, w in self.wrongs.items() if n in w} for n in self.right}
        pairs = zip(self.right.items(), self.answer, strict=True)
        return {n: replace(self, answer=a, right=r, wrongs=table[n]) for (n, r), a in pairs}


def _doubles(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().cpu().double()


def _diagnosis(tried: list[_Tried]) -> str | None:
    """What is wrong with the results: a known mistake, else a property; None for nothing."""
    if isinstance(tried[0].right, dict):
        return _diagnosis_of_parts(tried)
    wrong = [one for one in tried if not one.near(one.right)]
    if not wrong:
        return None
    if known := _in_all(tried, [one.wrongs for one in tried]):
        return known[0]
    first, fine = wrong[0], [one for one in tried if one.near(one.right)]
    where = f", {first} (it is right {fine[0]})" if fine else ""
    if usual := _in_all(wrong, [_usual(one, len(wrong)) for one in wrong]):
        return usual + where
    if unlike := next(filter(None, (one.unlike(one.right) for one in wrong)), None):
        return unlike + where
    a, r = _doubles(first.answer), _doubles(first.right)
    if not a.isfinite().all():
        return f"some of your values are infinite or nan{where}"
    if not first.case:
        return f"{float(a):.4g} is not right"
    off = (a.reshape(r.shape) - r).abs()
    far = off > first.tolerance * max(0.05, float(r.abs().max()))
    for axis in range(r.ndim):
        rows = far.movedim(axis, 0).reshape(r.shape[axis], -1).any(1)
        if not rows.all():
            places = ", ".join(map(str, rows.nonzero().flatten().tolist()))
            return f"your values are wrong at index {places} of axis {axis} only{where}"
    a, r = (x.flatten()[off.argmax()] for x in (a, r))
    where = where or f", {first}"
    return f"your values are not right: one is {a:.4g} where {r:.4g} is right{where}"


def _diagnosis_of_parts(tried: list[_Tried]) -> str | None:
    names = list(tried[0].right)
    wanted = f"{len(names)} results are wanted, ({', '.join(names)})"
    for one in tried:
        if not isinstance(one.answer, (list, tuple, Tensor)) or len(one.answer) != len(names):
            return wanted
    said = {}
    for name in names:
        parts = [one.parts()[name] for one in tried]
        if words := "it is open" if parts[0].answer is None else _diagnosis(parts):
            said[name] = words
    for order in itertools.permutations(range(len(names))) if said else ():
        turned = [replace(one, answer=[one.answer[i] for i in order]) for one in tried]
        if all(one.near(one.right) for one in turned):
            return f"these are the right results in another order; {wanted}"
    return "; ".join(f"{name}: {words}" for name, words in said.items()) or None


def _in_all(tried: list[_Tried], tables: list[dict[Any, Any]]) -> Any:
    """The first key of the tables whose results are the answers in every case."""
    pairs = list(zip(tried, tables, strict=True))
    keys = (key for key in tables[0] if all(one.near(table.get(key)) for one, table in pairs))
    return next(keys, None)


def _usual(one: _Tried, cases: int) -> dict[str, Any]:
    """Mistakes that occur everywhere, as a table; a number in its words holds in all cases."""
    if not one.case or not isinstance(one.answer, (Tensor, int, float)):
        return {}
    a, r = _doubles(one.answer), _doubles(one.right)
    table: dict[str, Any] = {"the sign is wrong": -r, "this is 1 minus the right result": 1 - r}
    changed = {"absolute value": r.abs(), "square": r**2, "square root": r.sqrt()}
    changed |= {"exponential": r.exp(), "logarithm": r.log(), "reciprocal": 1 / r}
    table |= {f"this is the {what} of the right result": value for what, value in changed.items()}
    for name, value in one.case.items():
        sizes = {name: float(value)} if isinstance(value, (int, float)) else {}
        if isinstance(value, Tensor) and value.ndim:
            table[f"this is `{name}` as it came"] = value
            sizes = {f"{name}.shape[{axis}]": float(n) for axis, n in enumerate(value.shape)}
        for words, n in sizes.items():
            for text, power in ((words, n), (f"sqrt({words})", abs(n) ** 0.5)):
                if power not in (0, 1):
                    table[f"your result is {text} times too large"] = power * r
                    table[f"your result is {text} times too small"] = r / power
    for axis in range(r.ndim):
        changed = {"added up": r.sum(axis), "averaged": r.mean(axis), "reversed": r.flip(axis)}
        changed |= {f"shifted by {step}": r.roll(step, axis) for step in (1, -1)}
        table |= {f"the right result is {w} along axis {axis}": v for w, v in changed.items()}
        table |= {f"axes {i} and {axis} are exchanged": r.transpose(i, axis) for i in range(axis)}
    if a.shape != r.shape or not a.isfinite().all() or r.numel() + cases < 4:
        return table
    factor, offset, start = (a * r).sum() / (r * r).sum(), (a - r).mean(), a.flatten()[0]
    table[f"every value is {start:.4g}"] = start.expand_as(a)
    table[f"your result is {factor:.4g} times the right one"] = factor * r
    table[f"your result is off by {offset:+.4g} everywhere"] = r + offset
    if r.numel() > 2:
        table["your result is the right one times a factor that depends on the input"] = factor * r
        table["your result is off by a constant that depends on the input"] = r + offset
        if torch.allclose(a.flatten().sort().values, r.flatten().sort().values, 1e-4, 1e-4):
            table["all the right values are there, in the wrong places"] = a
    return table
