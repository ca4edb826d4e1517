"""What moves the weights: the recommended optimizer, its learning rate in time, the average.

Owns: `recommended_optimizer`, `learning_rate_factor` and `averaged_copy`. Used in lesson 05.
Implements Muon (Jordan et al. 2024) beside AdamW (Loshchilov & Hutter 2019) and the power-function
average of Karras et al. 2024, equations 4 and 127.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel


class OptimizerPair(Optimizer):
    """Several optimizers that share the work and look like one.

    Args:
        parts: the optimizers; each parameter belongs to one of them.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        # The dictionaries are shared, so that a learning rate set here is set there.
        super().__init__([group for part in parts for group in part.param_groups], defaults={})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every part."""
        if closure is not None:
            raise ValueError("OptimizerPair takes no closure")
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """{"parts": their state dictionaries, in order}."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def recommended_optimizer(
    model: nn.Module, lr: float = 4e-3, *, weight_decay: float = 0.01
) -> Optimizer:
    """Muon for the matrices of the transformer blocks, AdamW for everything else.

    Muon makes every step of a matrix equally large in all directions, which learns more from
    each image here than AdamW does. Where torch has no Muon (before 2.9) AdamW does it all.

    >>> optimizer = recommended_optimizer(DiffusionTransformerUNet())

    Args:
        model: any module; the matrices are the 2-D weights under a name with "blocks" in it,
            except those that read the condition ("modulation").
        lr: learning rate of both, as `match_rms_adamw` gives their steps the same size.

    Source: Jordan et al. 2024; Liu et al. 2025, section 2.2 (the size of the steps).
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        hidden = p.ndim == 2 and "blocks" in name and "modulation" not in name
        (matrices if hidden and hasattr(torch.optim, "Muon") else others).append(p)
    # beta2 = 0.97 forgets in 33 steps rather than 1000: a short run has no time to remember.
    adamw = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.97), weight_decay=weight_decay)
    if not matrices:
        return adamw
    muon = torch.optim.Muon(
        matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return OptimizerPair([muon, adamw])


def learning_rate_factor(
    step: int, total_steps: int, *, warmup_steps: int = 50, decay: float = 1.0
) -> float:
    """What the learning rate is multiplied by: up from 0, then down to 0 in a straight line.

    Args:
        step: steps done so far, from 0.
        total_steps: steps of the whole run.
        warmup_steps: length of the way up; at most a tenth of the run.
        decay: the part of the run, at its end, that goes down; before that it is level.

    Returns:
        a factor in (0, 1].

    Source: Defazio et al. 2023 (a line to 0); Hu et al. 2024, section 4 (a level part before it).
    """
    warmup = max(1, min(warmup_steps, total_steps // 10))
    remaining = (total_steps - step) / total_steps  # in (0, 1]
    return min(1.0, (step + 1) / warmup, remaining / decay if decay > 0 else 1.0)


def averaged_copy(model: nn.Module, exponent: float = 8.0) -> AveragedModel:
    """A copy of a model whose weights follow the average of all past ones, the latest most.

    After n updates, the weights of step k count as (k / n) ** `exponent`: the window grows with
    the run, so that there is no warm-up to tune. At 8 it is about the last ninth of the run.

    Args:
        model: the model to follow; call `.update_parameters(model)` after every step.
        exponent: gamma in the paper, 0 for the plain mean.

    Source: Karras et al. 2024, equations 4 and 127.
    """

    @torch.no_grad()
    def power_average(averaged: Any, current: Any, num_averaged: Tensor | int) -> None:
        n = float(num_averaged)
        torch._foreach_lerp_(averaged, current, 1 - (n / (n + 1)) ** (exponent + 1))

    average = AveragedModel(model, multi_avg_fn=power_average)
    return average.eval().requires_grad_(False)
