"""What a training run reports: a record of each step, and their history. Lesson 05 uses both."""

from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Step:
    """One optimizer step, after the weights and their average have moved.

    `averaged_model` belongs to the loop: draw previews with it, but do not change it.
    """

    step: int  # steps done, this one included
    total_steps: int  # of the whole run
    epoch: int  # from 0
    loss: float  # mean over the step's batches
    learning_rate: float  # of the optimizer's first group
    images: int  # of this step, over all processes
    seconds: float  # wall clock, including the data
    averaged_model: nn.Module


@dataclass
class History:
    """The losses, learning rates and speeds of a run, step by step, across resumptions."""

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def append(self, step: Step) -> None:
        """Adds a step."""
        for column in fields(self):
            getattr(self, column.name).append(getattr(step, column.name))

    def state_dict(self) -> dict[str, list[Any]]:
        """Five lists of equal length, ready for JSON."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, list[Any]]) -> None:
        """The inverse of `state_dict`, in place."""
        for column in fields(self):
            setattr(self, column.name, list(state[column.name]))

    def __len__(self) -> int:
        return len(self.loss)

    def images_seen(self) -> int:
        """Images trained on, counting repetitions."""
        return sum(self.images)

    def recent_loss(self, steps: int = 50) -> float:
        """The mean loss of the last steps; a single one is mostly chance."""
        return sum(self.loss[-steps:]) / max(1, len(self.loss[-steps:]))

    def images_per_second(self, steps: int = 50) -> float:
        """The speed of the last steps."""
        seconds = sum(self.seconds[-steps:])
        return sum(self.images[-steps:]) / seconds if seconds else 0.0

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss against the images seen on matplotlib axes, and returns these."""
        import matplotlib.pyplot as plt
        import numpy as np

        if not self.loss:
            raise ValueError("there is nothing to plot yet: no step has been taken")
        ax = ax or plt.subplots(figsize=(7, 3.5), layout="constrained")[1]
        seen, window = np.cumsum(self.images), max(1, len(self) // 50)
        mean = np.convolve(self.loss, np.ones(window) / window, mode="valid")
        ax.plot(seen, self.loss, ".", markersize=2, alpha=0.3, label="each step")
        ax.plot(seen[window - 1 :], mean, label=f"mean of {window}")
        ax.set_ylim(0, 1.5 * float(np.quantile(self.loss, 0.9)))  # without the first, high ones
        ax.set(xlabel="images seen", ylabel="loss", title="Training loss")
        ax.legend()
        return ax
