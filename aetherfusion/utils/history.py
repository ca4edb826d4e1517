"""What a training run tells of itself.

Owns: `Step`, the record that the training loop yields, `History`, which keeps and plots them, and
`reporter`, which tells of them where there is no terminal for a bar.
Used in lesson 05.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import nn

SAY_EVERY = 30.0  # seconds between two lines of a report


@dataclass(frozen=True)
class Step:
    """One optimizer step, told after the weights and their average have moved.

    Attributes:
        step, total_steps: steps done, this one included, and steps of the whole run.
        epoch: from 0.
        loss: mean over the step's batches, as the criterion counts it.
        learning_rate: of the optimizer's first group.
        images: images of this step, over all processes.
        seconds: wall clock of this step, data and all.
        averaged_model: the model with the averaged weights, to draw previews with. It is the
            loop's own: read it, do not change it.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    images: int
    seconds: float
    averaged_model: nn.Module


@dataclass
class History:
    """The losses, learning rates and speeds of a run, step by step, across resumptions.

    >>> history = train(model, trainloader, criterion, optimizer, num_epochs=1)
    >>> history.loss[-1], history.images_seen(), history.plot()
    """

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def append(self, step: Step) -> None:
        """Keeps what is to be kept of a step."""
        for kept in fields(self):
            getattr(self, kept.name).append(getattr(step, kept.name))

    def as_dict(self) -> dict[str, list[Any]]:
        """Five lists of equal length, ready for JSON."""
        return asdict(self)

    def load_dict(self, values: dict[str, list[Any]]) -> None:
        """The inverse of `as_dict`, in place."""
        for kept in fields(self):
            setattr(self, kept.name, list(values[kept.name]))

    def __len__(self) -> int:
        return len(self.loss)

    def images_seen(self) -> int:
        """Images trained on, repetitions counted."""
        return sum(self.images)

    def recent_loss(self, steps: int = 50) -> float:
        """The mean loss of the last steps: a single one is mostly luck."""
        recent = self.loss[-steps:]
        return sum(recent) / max(1, len(recent))

    def images_per_second(self, steps: int = 50) -> float:
        """The speed of the last steps."""
        seconds = sum(self.seconds[-steps:])
        return sum(self.images[-steps:]) / seconds if seconds else 0.0

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss against images seen, as points and as a running mean.

        Args:
            ax: matplotlib axes to draw on; None for new ones.

        Returns:
            the axes.

        Raises:
            ValueError: if there is no step yet.
        """
        import matplotlib.pyplot as plt
        import numpy as np

        if not self.loss:
            raise ValueError("there is nothing to plot yet: no step has been taken")
        if ax is None:
            _, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
        seen = np.cumsum(self.images)
        window = max(1, len(self) // 50)
        mean = np.convolve(self.loss, np.ones(window) / window, mode="valid")
        ax.plot(seen, self.loss, ".", markersize=2, alpha=0.3, label="each step")
        ax.plot(seen[window - 1 :], mean, label=f"mean of {window}")
        ax.set(xlabel="images seen", ylabel="loss", title="Training loss")
        # The first steps are far above all others: leave them out of the picture.
        ax.set_ylim(0, 1.5 * float(np.quantile(self.loss, 0.9)))
        ax.legend()
        return ax


def reporter(say: Callable[[str], None]) -> Callable[[Step], None]:
    """Tells of the first step, of the last one, and now and then of those between."""
    told = float("-inf")

    def report(step: Step) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= SAY_EVERY or step.step == step.total_steps:
            told = now
            speed = step.images / step.seconds
            say(
                f"step {step.step} of {step.total_steps}: "
                f"loss {step.loss:.4f}, {speed:.0f} images/s"
            )

    return report
