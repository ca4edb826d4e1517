"""What moves the weights: the recommended optimizer, its learning rate in time, the average.

Owns: `recommended_optimizer`, `Muon` in it, `learning_rate_factor` and `averaged_copy`. Used in
lesson 05.
Implements Muon (Jordan et al. 2024) beside AdamW (Loshchilov & Hutter 2019) and the power-function
average of Karras et al. 2024, equations 4 and 127.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from .utils.hardware import fast_dtype


def orthogonalised(matrices: Tensor) -> Tensor:
    """Keeps the directions of each matrix and makes them all about equally strong.

    With the singular value decomposition matrix = U diag(r) V^T this is nearly U V^T. Each round
    puts every singular value r through the polynomial a r + b r^3 + c r^5, which five times over
    brings all above 0.003 to between 0.68 and 1.21, and takes nothing but products of matrices.

    Args:
        matrices: (n, rows, columns), several at once, as that is faster than one by one.

    Returns:
        (n, rows, columns), in the arithmetic in which their device multiplies fast: `fast_dtype`.

    Source: Jordan et al. 2024 (the polynomial's coefficients too).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(fast_dtype(matrices.device))
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT  # the product with itself is then the smaller of the two
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value above 1
    for _ in range(5):
        square = x @ x.mT  # (n, min, min), with the eigenvalues r^2
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(Optimizer):
    """Momentum, made equally strong in all directions: an optimizer for matrices.

    The same steps as those of `torch.optim.Muon` (torch 2.9 and later) with
    `adjust_lr_fn="match_rms_adamw"`. That one always multiplies in bfloat16: on processors that
    emulate it, it took four fifths of a training step.

    Args:
        params: matrices, and nothing else.
        lr: learning rate; the steps are as large as AdamW's with the same one.
        momentum: how much of its past the direction keeps, in [0, 1).
        weight_decay: how much a weight shrinks in a step, in units of the learning rate.

    Raises:
        ValueError: for a parameter that is no matrix.

    Source: Jordan et al. 2024; Liu et al. 2025, section 2.2 (the size of the steps).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 4e-3,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in every optimizer, and refuses what is no matrix."""
        super().add_param_group(param_group)
        for p in param_group["params"]:
            if p.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon moves matrices, got a parameter of shape {tuple(p.shape)}; give that "
                    "to AdamW, as recommended_optimizer(model) does"
                )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Moves every matrix that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            alike: dict[Any, list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape, p.device].append(p)
            for params in alike.values():
                ahead = torch.stack([self._gradient_ahead(p, momentum) for p in params])
                for p, direction in zip(params, orthogonalised(ahead), strict=True):
                    p.mul_(1 - lr * group["weight_decay"])
                    # An orthogonal matrix has a mean square entry of 1 / max(shape); AdamW's steps
                    # have one of about 0.2 squared.
                    p.add_(direction, alpha=-lr * 0.2 * max(p.shape) ** 0.5)

    def _gradient_ahead(self, p: nn.Parameter, momentum: float) -> Tensor:
        """The mean of the gradients so far, once more towards the latest one (Nesterov)."""
        assert p.grad is not None
        if "momentum_buffer" not in self.state[p]:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        past = self.state[p]["momentum_buffer"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(past, momentum)


class OptimizerPair(Optimizer):
    """Several optimizers that share the work and look like one.

    Args:
        parts: the optimizers; each parameter belongs to one of them.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        # The dictionaries are shared, so that a learning rate set here is set there.
        super().__init__([group for part in parts for group in part.param_groups], defaults={})

    def __reduce__(self) -> Any:
        """Copied and pickled by its parts; `Optimizer` would leave them out."""
        return type(self), (self.parts,)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuses what belongs to none of the parts: no step would ever move it."""
        if not any(param_group is group for part in self.parts for group in part.param_groups):
            raise ValueError(
                "OptimizerPair takes no more parameters; make the optimizer anew, of all of them: "
                "recommended_optimizer(model)"
            )
        super().add_param_group(param_group)

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
    each image here than AdamW does.

    >>> optimizer = recommended_optimizer(DiffusionTransformerUNet())

    Args:
        model: any module; the matrices are the 2-D weights under a name with "blocks" in it,
            except those that read the condition ("modulation").
        lr: learning rate of both; their steps have the same size.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        hidden = p.ndim == 2 and "blocks" in name and "modulation" not in name
        (matrices if hidden else others).append(p)
    # beta2 = 0.97 forgets in 33 steps rather than 1000: a short run has no time to remember.
    adamw = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.97), weight_decay=weight_decay)
    if not matrices:
        return adamw
    return OptimizerPair([Muon(matrices, lr, weight_decay=weight_decay), adamw])


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
