"""The optimizer, the learning rate over time, and the average of the weights. Built in lesson 05.

Implements Muon (Jordan et al. 2024), AdamW (Loshchilov & Hutter 2019) and the power-function
average (Karras et al. 2024, equations 4 and 127).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .utils.hardware import fast_dtype


def orthogonalise(matrices: Tensor) -> Tensor:
    """Keeps the singular vectors of each matrix and makes all its singular values similar.

    With the singular value decomposition matrix = U diag(s) V^T the result is nearly U V^T. Each
    round replaces every singular value s by a s + b s^3 + c s^5. Five rounds bring all above 0.003
    to between 0.68 and 1.21, using only matrix products (a Newton-Schulz iteration).

    Takes and returns (n, rows, columns), several matrices at once; the result has the dtype that
    their device multiplies fast, see `fast_dtype`. Source: Jordan et al. 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(fast_dtype(matrices.device))
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT  # the product with itself is then the smaller of the two
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value above 1
    for _ in range(5):
        square = x @ x.mT  # (n, min, min), with the eigenvalues s^2
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class MuonAdamW(torch.optim.AdamW):
    """AdamW, except for parameter groups marked `"muon": True`: those are moved by Muon.

    Muon follows a running mean of the gradients with all its singular values made similar. It is
    `torch.optim.Muon(adjust_lr_fn="match_rms_adamw")` in the dtype that the device multiplies fast.

    >>> MuonAdamW([{"params": [weight], "muon": True}, {"params": [bias]}], lr=4e-3)

    A group for Muon holds matrices only; its `momentum`, in [0, 1), is how much of the past the
    running mean keeps. The steps of both have about the same size (Liu et al. 2025, section 2.2).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 4e-3,
        betas: tuple[float, float] = (0.9, 0.97),
        *,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, weight_decay=weight_decay)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer; a group for Muon must hold matrices only."""
        param_group = {"muon": False, "momentum": 0.95, **param_group}
        super().add_param_group(param_group)
        for p in param_group["params"] if param_group["muon"] else ():
            if p.ndim != 2:
                self.param_groups.pop()
                raise ValueError(f"Muon moves matrices, got a parameter of shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Moves every parameter that has a gradient; a closure is called first."""
        with torch.enable_grad():
            loss = closure() if closure else None
        groups = self.param_groups
        for group in groups:
            if group["muon"]:
                self.muon_step(group)
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def muon_step(self, group: dict[str, Any]) -> None:
        """One step of Muon for the matrices of a group, those of one shape together."""
        by_shape = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                by_shape[p.shape, p.device].append(p)
        for params in by_shape.values():
            directions = torch.stack([self.nesterov(p, group["momentum"]) for p in params])
            for p, direction in zip(params, orthogonalise(directions), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                # The entries of an orthogonal matrix have the mean square 1 / max(shape); those of
                # AdamW's steps have about 0.2 squared.
                p.add_(direction, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)

    def nesterov(self, p: Tensor, momentum: float) -> Tensor:
        """The running mean of the gradients, moved once more towards the latest one."""
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros(())  # which AdamW expects when a state is loaded
            state["momentum_buffer"] = torch.zeros_like(p)
        assert p.grad is not None
        mean = state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)


def recommended_optimizer(
    model: nn.Module, lr: float = 4e-3, *, weight_decay: float = 0.01
) -> MuonAdamW:
    """Muon for the matrices of the transformer blocks, AdamW for everything else.

    >>> optimizer = recommended_optimizer(DiffusionTransformerUNet())

    The matrices are the 2-D weights under a name with "blocks" in it, except those that read the
    condition ("modulation"). `lr` is the highest learning rate of the run.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        hidden = p.ndim == 2 and "blocks" in name and "modulation" not in name
        (matrices if hidden else others).append(p)
    # beta2 = 0.97, the default here, averages over 33 steps, not 1000, because runs are short.
    groups: list[dict[str, Any]] = [{"params": matrices, "muon": True}, {"params": others}]
    return MuonAdamW([g for g in groups if g["params"]], lr, weight_decay=weight_decay)


def learning_rate_factor(
    step: int, total_steps: int, *, warmup_steps: int = 50, decay: float = 1.0
) -> float:
    """The factor of the learning rate: it rises from 0, and at the end it falls to 0, linearly.

    `step` counts from 0. The factor rises for `warmup_steps`, at most a tenth of the run, and falls
    in the last share `decay` of the run. In between it is 1.
    Source: Defazio et al. 2023 (a line to 0); Hu et al. 2024, section 4 (a level part before it).
    """
    warmup = max(1, min(warmup_steps, total_steps // 10))
    remaining = (total_steps - step) / total_steps  # in (0, 1]
    return float(min(1.0, (step + 1) / warmup, remaining / decay if decay > 0 else 1.0))


def averaged_copy(model: nn.Module, exponent: float = 8.0) -> AveragedModel:
    """A copy of a model whose weights are a mean of all past ones; the latest count most.

    Call its `update_parameters(model)` after every step. After n of them, the weights of step k
    count as (k / n) ** `exponent`: the window grows with the run, so there is no warm-up to tune.
    At 8 it is about the last ninth of the run, and 0 gives the plain mean.

    Source: Karras et al. 2024, equations 4 and 127.
    """

    @torch.no_grad()
    def power_average(averaged: Any, current: Any, _: Tensor | int) -> None:
        n = int(average.n_averaged)  # on the CPU: reading the argument would wait for a GPU
        torch._foreach_lerp_(averaged, current, 1 - (n / (n + 1)) ** (exponent + 1))

    average = AveragedModel(model, multi_avg_fn=power_average)
    return average.eval().requires_grad_(False)
