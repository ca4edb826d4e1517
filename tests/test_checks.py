"""The checks of the exercises: a corpus of wrong and right answers, and what a student can do.

The answers are in `corpus`.
"""

from __future__ import annotations

import functools
import io
import json
import linecache
import re
import threading
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aetherfusion.lessons import NotYet, Table, exercise
from aetherfusion.sampling import ddim, time_grid

START = "import math, torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
START += "from aetherfusion import FLOW, NoisePath, sinusoid\n"
#: Loading the metrics takes seconds, so only the lesson that needs them does.
MORE = {"evaluation": "from aetherfusion.evaluation import nearest_pictures\n"}

LESSONS = ["positional", "attention", "unet", "diffusion", "training", "generation", "evaluation"]
CORPUS = {
    f"{lesson}.{name}": entry
    for lesson in LESSONS
    for name, entry in import_module(f"corpus.{lesson}").CORPUS.items()
}


def answer(name: str, body: str) -> Any:
    """A function as a student writes it in a cell of its own, whose lines can be looked up."""
    short = name.split(".")[-1]
    parameters = CORPUS[name][0] if name in CORPUS else "x"
    text = f"def {short}({parameters}):\n        {body.strip()}\n"
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(START + MORE.get(name.split(".")[0], ""), namespace)
    exec(compile(text, file, "exec"), namespace)
    return namespace[short]


def said(name: str, answer: Any, **options: Any) -> str:
    module, exercise = name.split(".")
    out = io.StringIO()
    with redirect_stdout(out):
        getattr(import_module(f"aetherfusion.lessons.{module}"), exercise)(answer, **options)
    assert out.getvalue().count("\n") == 1, out.getvalue()
    return out.getvalue().strip()


each = pytest.mark.parametrize("name", CORPUS)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELLS = [
    cell
    for path in NOTEBOOKS.glob("*.ipynb")
    for cell in json.loads(path.read_text())["cells"]
    if cell["cell_type"] == "code"
]


def changed(name: str, old: str, new: str) -> Any:
    solution = CORPUS[name][1]
    assert old in solution, (name, old)
    return answer(name, solution.replace(old, new))


@each
def test_right_answers_are_right_however_they_are_written(name: str) -> None:
    assert said(name, answer(name, CORPUS[name][1])).startswith("Right: ")
    for old, new in CORPUS[name][3]:
        assert said(name, changed(name, old, new)).startswith("Right: "), (old, new)


@functools.cache
def lines(name: str) -> list[tuple[str, str, str]]:
    """What a check says to every wrong answer: (replacement, words wanted, line)."""
    wrong = CORPUS[name][2]
    return [(new, words, said(name, changed(name, old, new))) for old, new, words in wrong]


@each
def test_wrong_answers_are_caught_and_named(name: str) -> None:
    assert len(lines(name)) >= 6 and len(CORPUS[name][3]) >= 2
    for new, words, line in lines(name):
        assert line.startswith("Not yet: ") and words.strip("?") in line, (new, words, line)
        assert "the check itself" not in line, (new, line)


def test_rates() -> None:
    every = [(words, line) for name in CORPUS for _, words, line in lines(name)]
    caught = sum(line.startswith("Not yet: ") for _, line in every)
    named = sum(not words.endswith("?") for words, _ in every)
    right = sum(len(others) + 1 for _, _, _, others in CORPUS.values())
    print(f"\n{len(every)} wrong answers, {caught / len(every):.1%} caught, ", end="")
    print(f"{named / len(every):.1%} named; {right} right ones, none refused")
    assert caught == len(every) and named >= 0.85 * len(every)


def test_the_corpus_has_every_exercise() -> None:
    assert len(CORPUS) == 102
    for module in {name.split(".")[0] for name in CORPUS}:
        names = vars(import_module(f"aetherfusion.lessons.{module}"))
        checks = {n for n, value in names.items() if hasattr(value, "__wrapped__")}
        assert {f"{module}.{n}" for n in checks} == {n for n in CORPUS if n.startswith(module)}


# What a student can do


@exercise(lambda: [torch.randn(1, 3, 4), torch.randn(1, 5, 2), torch.randn(1, 2, 7)])
def mean(x: torch.Tensor) -> Table:
    """the mean over the batch"""
    return x.mean(0), {"this is a sum": x.sum(0)}


def mean_of(text: str) -> Any:
    return answer("own.mean", text)


def say(given: Any, check: Any = mean, **options: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        check(given, **options)
    assert out.getvalue().count("\n") == 1, out.getvalue()
    return out.getvalue().strip()


@pytest.mark.parametrize(
    "body",
    [
        "return None  # your code here",
        "pass",
        "...",
        '"""What to do."""',
        '"""What to do."""\n        return None',
        "raise NotImplementedError",
        "raise NotImplementedError('your code here')",
    ],
)
def test_a_stub_is_not_written_yet(body: str) -> None:
    assert say(mean_of(body)) == "Not written yet: the mean over the batch"


@each
def test_the_stubs_of_the_notebooks_print_what_is_stored(name: str) -> None:
    module, exercise = name.split(".")
    call = f"check.{exercise}({exercise})"
    (cell,) = (cell for cell in CELLS if call in "".join(cell["source"]).splitlines())
    out = io.StringIO()
    with redirect_stdout(out):
        check = import_module(f"aetherfusion.lessons.{module}")
        exec("".join(cell["source"]), {"check": check})
    assert out.getvalue() == "".join(cell["outputs"][0]["text"])
    assert out.getvalue().startswith("Not written yet: ")


def test_a_module_s_stub_is_not_written_yet() -> None:
    class Stub(nn.Module):
        def forward(self, x: Any) -> Any:
            return None

    assert say(Stub()) == "Not written yet: the mean over the batch"


@pytest.mark.parametrize(
    "body",
    ["y = x.mean(0)", "x.mean(0)", "return print(x.mean(0))", "return x.sort() and None"],
)
def test_a_missing_return_is_not_an_untouched_stub(body: str) -> None:
    line = say(mean_of(body))
    assert line.startswith("Not yet: your function returns None; "), line
    assert "`return` missing?" in line and ("prints" in line) == ("print" in body)


@pytest.mark.parametrize(
    "body",
    [
        "y = 0\n        while y < 3:\n            x + 1\n        return y",
        "y = 0\n        while True:\n            pass",
        "y = 0\n        for y in iter(int, 1):\n            x + y",
        "y = 0\n        while True:\n            for y in x:\n                y + 1",
        "y = 0\n        while True:\n            try:\n                x + 1\n"
        "            except Exception:\n                pass",
    ],
)
def test_an_endless_loop_ends(body: str) -> None:
    line = say(mean_of(body), time_limit=0.2)
    found = re.fullmatch(r"Not yet: .* did not end within 0.2 s, in line (\d): `(.+)`", line)
    assert found and int(found[1]) >= 3, line
    assert found[2] == body.splitlines()[int(found[1]) - 2].strip()


def test_an_endless_loop_ends_in_another_thread_too() -> None:
    lines = []
    check = threading.Thread(
        target=lambda: lines.append(say(mean_of("while x is x: pass"), time_limit=0.2))
    )
    check.start()
    check.join(20)
    assert "did not end within 0.2 s" in lines[0]


def test_a_loop_that_catches_everything_ends() -> None:
    body = "while True:\n            try:\n                x + 1\n"
    body += "            except:\n                return x"
    line = say(mean_of(body), time_limit=0.2)
    assert line.startswith(
        ("Not yet: this is `x` as it came", "Not yet: your function did not end")
    )


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), threading.active_count()
    assert say(mean_of("return torch.rand(3)")).startswith("Not yet: ")
    say(mean_of("while True: pass"), time_limit=0.1)
    assert torch.equal(torch.get_rng_state(), state) and threading.active_count() == threads


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = x + 1\n        return y / 0 @ x", "raised RuntimeError: "),
        (
            "y = 1\n        return y.foo",
            "raised AttributeError: 'int' object has no attribute 'foo', in line 3: `return y.foo`",
        ),
        ("return x.reshape(3, 4)[0] * 0 + x.mean(0)", "in line 2: `return x.reshape(3, 4)[0]"),
        ("return mean(x)", "in line 2: `return mean(x)`"),
        ("raise SystemExit", "raised SystemExit, in line 2"),
        ("return F.linear(x, x, x, x, x)", "in line 2: `return F.linear"),
        ("return torch.ones(2, dtype=torch.half) @ nn.Linear(2, 2)(x)", "raised RuntimeError"),
    ],
)
def test_an_error_shows_the_student_s_own_line(body: str, words: str) -> None:
    line = say(mean_of(body), time_limit=5)
    assert line.startswith("Not yet: ") and words in line, line


def test_an_error_in_a_later_case_says_for_which_it_works() -> None:
    line = say(mean_of("return x.reshape(3, 4).mean(0)"))
    assert line.endswith("(with x of shape (5, 2); it works with x of shape (3, 4))"), line


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x += 1\n        return (x - 1).mean(0)", "changes `x`; use"),
        ("return x.sum(0)", "this is a sum"),
        ("return -x.mean(0)", "the sign is wrong"),
        ("return 3 * x.mean(0)", "3 times the right one"),
        ("return x.mean(0) + 2", "off by +2 everywhere"),
        ("return x.mean(0) * len(x)**0.5", "sqrt(x.shape[0]) times too large"),
        ("return x.mean(0) / x.shape[1]", "x.shape[1] times too small"),
        ("return x.mean(0) ** 2", "the square of"),
        ("return x.mean(0).abs()", "the abs of"),
        ("return x.mean(0).flip(0)", "reversed along axis 0"),
        ("return x.mean(0).roll(1)", "all the right values are there, in the wrong places"),
        ("return x.mean()", "the right result is averaged along axis 0"),
        ("return x.mean(0)[None]", "the shape should be (4,), and yours is (1, 4)"),
        ("return x.mean(0).tolist()", "a tensor is wanted, and yours is of type list"),
        ("return x.mean(0).numpy()", "a tensor is wanted, and yours is of type ndarray"),
        ("return x.mean(0).long()", "the values should be of type torch.float32"),
        ("return x.mean(0) / 0 * 0", "infinite or nan"),
        ("return 0 * x.mean(0)", "every value is 0"),
        (
            "return x.mean(0) * torch.tensor([1, 2.0])[[0] + [1] * (x.shape[1] - 1)]",
            "index [1, 2, 3] of axis 0 only",
        ),
        ("return x.mean(0) if len(x) == 3 else x[0]", "it is right with x of shape (3, 4)"),
        ("return x[0]", "one of your values is"),
        ("return x", "this is `x` as it came"),
        ("yield x", "of type generator"),
        ("return mean", "of type function"),
    ],
)
def test_a_property_explains_what_no_table_knows(body: str, words: str) -> None:
    line = say(mean_of(body))
    assert line.startswith("Not yet: ") and words in line, line


def test_what_is_not_a_function() -> None:
    assert say(torch.ones(4)) == "Not yet: a function is wanted, and yours is a Tensor"
    assert say(lambda: 1).startswith("Not yet: your function raised TypeError: ")
    assert say(nn.Flatten()).startswith("Not yet: ")
    assert say(torch.mean).startswith("Not yet: ")


@pytest.mark.parametrize("precision", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("recall", [0.1, 0.2, 0.3])
def test_predicted_scores_allow_0_1_either_way(precision: float, recall: float) -> None:
    line = said("evaluation.predicted_scores", lambda: (precision, recall))
    assert line.startswith("Right: "), line


@pytest.mark.parametrize(
    "scores", [(0.35, 0.2), (0.63, 0.2), (0.5, 0.05), (0.5, 0.35), (0.5, 0.0), (0.2, 0.2)]
)
def test_predicted_scores_allow_no_more(scores: tuple[float, float]) -> None:
    assert said("evaluation.predicted_scores", lambda: scores).startswith("Not yet: ")


def test_euler_is_the_first_order_sampler_of_the_package() -> None:
    def by_ddim(velocity: Any, noise: torch.Tensor, num_steps: int) -> torch.Tensor:
        def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x - t * velocity(x, t.expand(len(x)))

        return ddim(denoise, noise, time_grid(num_steps, tail=0))

    assert said("diffusion.euler", by_ddim).startswith("Right: ")


def test_a_module_can_be_an_answer() -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(0)

    assert say(Mean()) == "Right: the mean over the batch"


def test_the_student_is_not_blamed_for_the_check() -> None:
    @exercise(lambda: [(1,), (0,), (2,)])
    def broken(x: int) -> Table:
        """a broken check"""
        return 1 / x, {}

    line = say(lambda x: 1 / (x or 1), broken)
    assert line.startswith("Not yet: the check itself failed, and not your answer: ZeroDivision")


def test_a_check_may_say_what_is_wrong_itself() -> None:
    def run(student: Any, x: Any) -> Any:
        raise NotYet("so not")

    assert (
        say(lambda x: x, exercise(lambda: [torch.randn(1, 3, 4)], run=run)(mean.__wrapped__))
        == "Not yet: so not"
    )
