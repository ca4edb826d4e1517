"""What the ablations switch: the plain form, and the steps from there to the recipe.

A `Setup` says how to train once. `ladder()` begins with what a first diffusion model often is and
changes one thing at a time until it is the package's own recipe; `BRANCHES` changes one thing of
the last rung but one, which decays over the last 30 % of its steps, or of "the recipe" itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import aetherfusion.training
import aetherfusion.unet
from aetherfusion import DiffusionTransformerUNet, TransformerBlock, UNetWithAttention
from aetherfusion.attention import MultiHeadSelfAttention
from aetherfusion.diffusion import COSINE, FLOW, NoisePath
from aetherfusion.diffusion import sample_times as logit_normal_times
from aetherfusion.optimizer import averaged_copy, learning_rate_factor, recommended_optimizer
from aetherfusion.positional import position_grid
from aetherfusion.unet import Downsample, ResidualBlock, Upsample


class PixelUNet(nn.Module):
    """The U-Net with one more level, of convolutions at the full resolution, and no folding."""

    def __init__(self, inner: UNetWithAttention, condition_dim: int) -> None:
        super().__init__()
        width = inner.encode.conv1.in_channels  # type: ignore[union-attr]
        narrow = width // 2
        inner.fold = nn.Identity()  # type: ignore[assignment]
        inner.unfold = nn.Sequential(nn.Conv2d(width, width, 3, padding=1))
        self.inner, self.blocks = inner, inner.blocks
        self.enter = nn.Conv2d(3, narrow, 3, padding=1)
        self.encode = ResidualBlock(narrow, narrow, condition_dim=condition_dim)
        self.down = Downsample(narrow, width)
        self.up = Upsample(width, narrow)
        self.decode = ResidualBlock(2 * narrow, narrow, condition_dim=condition_dim)
        self.leave = nn.Conv2d(narrow, 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        skip = self.encode(self.enter(x), condition)  # (B, E / 4, H, W)
        h = self.up(self.inner(self.down(skip), condition))
        return self.leave(F.silu(self.decode(torch.cat([h, skip], dim=1), condition)))


class WithAttention(nn.Module):
    """A residual block, and a transformer block after it on the same pixels."""

    def __init__(self, residual: nn.Module, width: int, condition_dim: int) -> None:
        super().__init__()
        self.residual, self.width = residual, width
        self.conv1 = getattr(residual, "conv1", None)
        self.blocks = nn.ModuleList([TransformerBlock(width, 4, condition_dim=condition_dim)])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.residual(x, condition)
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, width)
        places = position_grid(*x.shape[-2:], self.width, device=x.device).to(tokens.dtype)
        return self.blocks[0](tokens + places, condition).transpose(1, 2).reshape_as(x)


class AddedCondition(nn.Module):
    """A transformer block whose condition is added to its tokens instead of steering its norms."""

    def __init__(self, width: int, num_heads: int, condition_dim: int) -> None:
        super().__init__()
        self.block = TransformerBlock(width, num_heads)
        self.read = nn.Linear(condition_dim, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.block(x + self.read(F.silu(condition))[:, None])


def uniform_times(batch_size: int, *, device: Any = None) -> Tensor:
    """Times drawn evenly from [0, 1]."""
    return torch.rand(batch_size, device=device)


def exponential_average(model: nn.Module) -> AveragedModel:
    """The usual average, 0.999 of the past at each step, which begins with the first weights."""
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    return average.eval().requires_grad_(False)


def adam_of_the_five_lines(model: nn.Module) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=1e-4)


def adamw(model: nn.Module, lr: float = 2e-3) -> optim.Optimizer:
    """What `recommended_optimizer` uses for all but the matrices, here for every weight."""
    return optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.97), weight_decay=0.01)


@dataclass(frozen=True)
class Setup:
    """One way to train; the defaults are the recipe of the package."""

    folded: bool = True
    attention_at_16: bool = False
    condition: str = "adaLN-zero"  # or "adaLN" (not zero at first), "added"
    qk_norm: bool = True
    positions: str = "sinusoids"  # or "learnt", "none"
    sizes: dict[str, int] = field(default_factory=dict)
    label_std: float | None = None
    optimizer: Callable[[nn.Module], optim.Optimizer] = recommended_optimizer
    batch_size: int = 64
    path: NoisePath = FLOW
    times: Callable[..., Tensor] = logit_normal_times
    average: Callable[..., AveragedModel] = averaged_copy
    warmup_steps: int = 50
    options: dict[str, Any] = field(default_factory=dict)  # of `training_steps`
    guidance_scale: float = 2.5  # all the way, which suits models as young as these

    def build(self) -> DiffusionTransformerUNet:
        """The model; changes the package in this process where a switch has no option."""
        model = DiffusionTransformerUNet(**self.sizes, path=self.path)  # type: ignore[arg-type]
        unet, condition_dim = model.unet, model.label_embedding.embedding_dim
        width, heads = unet.token_dim, unet.blocks[0].attention.num_heads  # type: ignore
        if self.condition == "added":
            unet.blocks = nn.ModuleList(
                AddedCondition(width, heads, condition_dim) for _ in unet.blocks
            )
        if self.condition == "adaLN":
            for block in unet.blocks:
                nn.init.normal_(block.modulation.weight, std=0.02)  # type: ignore
                bias = block.modulation.bias.data.view(6, width)  # type: ignore
                bias[2], bias[5] = 1.0, 1.0  # the gates: open from the beginning
        if self.attention_at_16:
            narrow = unet.encode.conv1.in_channels
            unet.encode = WithAttention(unet.encode, narrow, condition_dim)  # type: ignore
            unet.decode = WithAttention(unet.decode, narrow, condition_dim)  # type: ignore
        if not self.folded:
            model.unet = PixelUNet(unet, condition_dim)  # type: ignore[assignment]
        for module in model.modules():
            if isinstance(module, MultiHeadSelfAttention):
                module.qk_norm = self.qk_norm
        aetherfusion.unet.position_grid = position_grid
        if self.positions == "none":
            aetherfusion.unet.position_grid = lambda *_, **__: torch.zeros(1)  # type: ignore
        if self.positions == "learnt":
            places = nn.Parameter(0.02 * torch.randn(64, width))
            model.register_parameter("places", places)
            aetherfusion.unet.position_grid = lambda *_, **__: model.places  # type: ignore
        if self.label_std is not None:
            nn.init.normal_(model.label_embedding.weight, std=self.label_std)
        aetherfusion.training.sample_times = self.times  # type: ignore[attr-defined]
        aetherfusion.training.averaged_copy = self.average  # type: ignore[attr-defined]
        schedule = partial(learning_rate_factor, warmup_steps=self.warmup_steps)
        aetherfusion.training.learning_rate_factor = schedule  # type: ignore[attr-defined]
        return model.to(memory_format=torch.channels_last)


PLAIN = Setup(
    folded=False,
    attention_at_16=True,
    condition="added",
    qk_norm=False,
    optimizer=adam_of_the_five_lines,
    path=COSINE,
    times=uniform_times,
    average=exponential_average,
    warmup_steps=1,
    options={"decay": 0.0},
)
#: Each step, in words, with what it changes; the last one arrives at `Setup()`.
STEPS: list[tuple[str, dict[str, Any]]] = [
    (
        "AdamW at 2e-3, with warm-up and decay",
        {"optimizer": adamw, "warmup_steps": 50, "options": {"decay": 0.3}},
    ),
    ("an average that grows with the run", {"average": averaged_copy}),
    ("the straight path", {"path": FLOW}),
    ("logit-normal times", {"times": logit_normal_times}),
    ("pixels folded 2x2", {"folded": True}),
    ("attention at 8x8 only", {"attention_at_16": False}),
    ("adaLN-zero", {"condition": "adaLN-zero"}),
    ("normalised queries and keys", {"qk_norm": True}),
    ("Muon for the matrices", {"optimizer": recommended_optimizer}),
    ("decay from the start: the recipe", {"options": {}}),
]


def ladder() -> dict[str, Setup]:
    """From the plain form to the recipe, by name."""
    rungs = {"plain": PLAIN}
    for words, change in STEPS:
        rungs[words] = replace(list(rungs.values())[-1], **change)
    return rungs


def _lr(lr: float) -> Callable[[nn.Module], optim.Optimizer]:
    return lambda model: recommended_optimizer(model, lr)


def _but(**change: Any) -> Setup:
    """The last rung but one, with something changed."""
    return replace(Setup(options={"decay": 0.3}), **change)


BRANCHES: dict[str, Setup] = {
    "five lines: Adam at 1e-4": _but(optimizer=adam_of_the_five_lines),
    "AdamW alone": _but(optimizer=adamw),
    "AdamW alone at 4e-3": _but(optimizer=lambda model: adamw(model, 4e-3)),
    "learning rate 2e-3": _but(optimizer=_lr(2e-3)),
    "learning rate 8e-3": _but(optimizer=_lr(8e-3)),
    "decay over the last 60 %": _but(options={"decay": 0.6}),
    "decay from the start, at 6e-3": _but(options={}, optimizer=_lr(6e-3)),
    "batch 32": _but(batch_size=32),
    "batch 128": _but(batch_size=128),
    "no label dropout, no guidance": _but(
        options={"decay": 0.3, "label_dropout": 0.0}, guidance_scale=1.0
    ),
    "no guidance": _but(guidance_scale=1.0),
    "labels begin small: 0.02": _but(label_std=0.02),
    "no positions": _but(positions="none"),
    "learnt positions": _but(positions="learnt"),
    "adaLN not zero at first": _but(condition="adaLN"),
    "queries and keys not normalised": _but(qk_norm=False),
    "the usual average (0.999)": _but(average=exponential_average),
    "2 blocks": _but(sizes={"depth": 2}),
    "the recipe with 1 block": Setup(sizes={"depth": 1}),
    "the recipe with 2 blocks": Setup(sizes={"depth": 2}),
    "the recipe with 3 blocks": Setup(sizes={"depth": 3}),
    "the recipe with 2 blocks of embedding_dim 96": Setup(sizes={"depth": 2, "embedding_dim": 96}),
    "the recipe with 2 blocks, batch 32": Setup(sizes={"depth": 2}, batch_size=32),
    "the recipe with 2 blocks, at 6e-3": Setup(sizes={"depth": 2}, optimizer=_lr(6e-3)),
    "8 blocks": _but(sizes={"depth": 8}),
    "wider: embedding_dim 192": _but(sizes={"embedding_dim": 192}),
    "attention at 16x16 too": _but(attention_at_16=True),
    "not folded": _but(folded=False),
    "cosine path": _but(path=COSINE),
    "uniform times": _but(times=uniform_times),
}
