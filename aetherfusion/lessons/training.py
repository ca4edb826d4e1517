"""The checks of lesson 05: a learning rate, lost labels, and batches that add up."""

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import run_check


def cosine_decay(function: Callable[[int, int], Any]) -> None:
    """`cosine_decay(step, total_steps)`: half a cosine, from 1 at step 0 down to 0 at the end."""
    total = 40
    expected = [(1 + math.cos(math.pi * step / total)) / 2 for step in range(total + 1)]

    def answer() -> list[Any] | None:
        found = [function(step, total) for step in range(total + 1)]
        return None if found[0] is None else found

    def judge(found: list[Any]) -> str | None:
        try:
            values = [float(value) for value in found]
        except (TypeError, ValueError):
            return f"your function gave {found[0]!r}; a number is wanted"
        if _near(values, expected):
            return None
        if _near(values, expected[::-1]):
            return "it rises from 0 to 1; a decay begins at 1 (step 0) and ends at 0"
        if _near(values, [2 * e - 1 for e in expected]):
            return "it ends at -1: the cosine lies between -1 and 1, bring it to between 0 and 1"
        if _near(values, [(1 + math.cos(2 * math.pi * s / total)) / 2 for s in range(total + 1)]):
            return "it goes down and comes up again: half a turn is wanted, an angle of pi in all"
        if _near(values, [1 - step / total for step in range(total + 1)]):
            return "it is a straight line; half a cosine is level at both ends"
        if _near(values, [2 * e for e in expected]):
            return "it begins at 2: 1 + cos lies between 0 and 2, halve it"
        if abs(values[0] - 1) > 1e-3:
            return f"at step 0 it is {values[0]:.3f}; it must begin at 1"
        if abs(values[-1]) > 1e-3:
            return f"at the last step it is {values[-1]:.3f}; it must end at 0"
        worst = max(range(total + 1), key=lambda step: abs(values[step] - expected[step]))
        return (
            f"at step {worst} of {total} it is {values[worst]:.3f}; "
            f"half a cosine is at {expected[worst]:.3f} there"
        )

    run_check("half a cosine from 1 to 0, compared with the formula at 41 steps", answer, judge)


def drop_labels(function: Callable[[Tensor, float, int], Any]) -> None:
    """`drop_labels(labels, probability, null_label)`: each label lost by a throw of its own."""
    labels = torch.arange(20_000) % 10

    def answer() -> list[Any] | None:
        torch.manual_seed(0)
        found = [function(labels.clone(), 0.25, 10) for _ in range(2)]
        return None if found[0] is None else found

    def judge(both: list[Any]) -> str | None:
        found, again = both
        if not isinstance(found, Tensor) or found.shape != labels.shape:
            return f"a tensor of shape {tuple(labels.shape)} is wanted, one label an image"
        if found.dtype != labels.dtype:
            return f"labels are whole numbers, {labels.dtype}; yours are {found.dtype}"
        changed = found != labels
        share = float(changed.float().mean())
        if changed.any() and bool((found[changed] != 10).any()):
            wrong = int(found[changed][found[changed] != 10][0])
            return f"a lost label must become the null label, 10; one of yours became {wrong}"
        if share == 0.25 and float((again != labels).float().mean()) == 0.25:
            return (
                "you lose a quarter exactly, each time: let each label throw for itself, "
                "so that the number varies"
            )
        if share in (0.0, 1.0):
            return (
                f"you lost {'all' if share else 'none'} of 20,000 labels, and 25% were to be lost: "
                "throw for every image by itself, len(labels) numbers and not one"
            )
        if abs(share - 0.75) < 0.02:
            return "you keep 25% and lose 75%; the probability is that of losing a label"
        if abs(share - 0.25) > 0.02:
            return f"you lost {share:.1%} of the labels; 25% were to be lost"
        if torch.equal(found, again):
            return "called twice, you lose the same labels: a new throw for each label is wanted"
        return None

    run_check("a quarter of 20,000 labels became the null label, each by itself", answer, judge)


def summed_gradient(
    function: Callable[[nn.Module, list[tuple[Tensor, Tensor]]], Any],
) -> None:
    """`summed_gradient(net, batches)`: leave in `.grad` the gradient of the mean loss of all."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 5, generator=generator)
    targets = torch.randn(12, 2, generator=generator)
    batches = [(inputs[i : i + 4], targets[i : i + 4]) for i in (0, 4, 8)]
    net = nn.Linear(5, 2)
    expected = torch.autograd.grad(F.mse_loss(net(inputs), targets), net.weight)[0]
    last = torch.autograd.grad(F.mse_loss(net(inputs[8:]), targets[8:]), net.weight)[0]

    def answer() -> Tensor | str | None:
        net.zero_grad()
        calls: list[int] = []  # how many images go in at each
        stored: weakref.WeakSet[_Stored] = weakref.WeakSet()  # for a backward pass to come
        held: list[int] = []  # how much of that is there before each call

        def look(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            calls.append(len(args[0]))
            held.append(len(stored))

        def store(tensor: Tensor) -> _Stored:
            stored.add(one := _Stored(tensor))
            return one

        hook = net.register_forward_pre_hook(look)
        try:
            with torch.autograd.graph.saved_tensors_hooks(store, lambda one: one.tensor):
                given = function(net, batches)
        finally:
            hook.remove()
        if given is not None:
            return "leave the gradient in net.weight.grad, and return nothing"
        if net.weight.grad is None and calls:
            return "net.weight.grad is empty: call backward(), and do not clear afterwards"
        at_once = max(calls, default=0) > 4 or any(held)
        found = net.weight.grad
        if at_once and found is not None and torch.allclose(found, expected, atol=1e-5):
            return (
                "the gradient is right, but more than 4 images were in memory at once: call "
                "backward() for each batch before the next one goes in"
            )
        return found

    def judge(found: Tensor | str) -> str | None:
        if isinstance(found, str):
            return found
        if torch.allclose(found, expected, atol=1e-5):
            return None
        if torch.allclose(found, 3 * expected, atol=1e-5):
            return "it is three times too long: each loss is a mean already, divide by len(batches)"
        if torch.allclose(found, last, atol=1e-5) or torch.allclose(found, last / 3, atol=1e-5):
            return "only the last batch is in it: do not clear the gradient between the batches"
        ratio = float((found * expected).sum() / expected.square().sum())
        if ratio > 0 and torch.allclose(found, ratio * expected, rtol=1e-3, atol=1e-5):
            return (
                f"its direction is right, its length {ratio:.3g} times the right one: "
                "divide each batch's mean by len(batches), and by nothing else"
            )
        return "it is not the gradient of the mean squared error over the 12 examples"

    run_check("three batches of 4 give the gradient of one batch of 12", answer, judge)


class _Stored:
    """A tensor that waits for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _near(values: list[float], expected: list[float]) -> bool:
    return max(abs(v - e) for v, e in zip(values, expected, strict=True)) < 1e-3
