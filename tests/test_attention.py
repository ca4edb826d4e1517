"""Attention against torch's own modules, with copied weights."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aetherfusion.attention import MultiHeadSelfAttention, TransformerBlock

DIM, HEADS, CONDITION = 24, 3, 10


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def perturb(module: nn.Module, size: float = 0.3) -> None:
    """Random weights and biases everywhere: what starts at zero hides mistakes."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def attention(qk_norm: bool = False) -> MultiHeadSelfAttention:
    torch.manual_seed(0)
    module = MultiHeadSelfAttention(DIM, HEADS, qk_norm=qk_norm)
    perturb(module)
    return module


@torch.no_grad()
def copy_attention(ours: MultiHeadSelfAttention, theirs: nn.MultiheadAttention) -> None:
    assert theirs.in_proj_weight is not None and theirs.in_proj_bias is not None
    theirs.in_proj_weight.copy_(ours.to_qkv.weight)
    theirs.in_proj_bias.copy_(ours.to_qkv.bias)
    theirs.out_proj.weight.copy_(ours.to_out.weight)
    theirs.out_proj.bias.copy_(ours.to_out.bias)


@pytest.mark.parametrize("grad", [True, False])
def test_equals_torch_multihead_attention(grad: bool) -> None:
    ours, x = attention(), some(2, 7, DIM)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    with torch.set_grad_enabled(grad):
        expected, maps = theirs(x, x, x, average_attn_weights=False)
        assert distance(ours(x), expected) < 1e-5
        assert distance(ours.attention_maps(x), maps) < 1e-5


@pytest.mark.parametrize("qk_norm", [True, False])
def test_written_out_equals_fused_also_in_gradients(qk_norm: bool) -> None:
    module, x = attention(qk_norm), some(2, 7, DIM)
    parameters = list(module.parameters())

    written = module(x)
    with torch.no_grad():
        assert distance(written, module(x)) < 1e-5
    q, k, v = module.heads(x)
    fused = module.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    assert distance(written, fused) < 1e-5

    pull = some(2, 7, DIM, seed=2)
    grads = torch.autograd.grad((written * pull).sum(), parameters)
    expected = torch.autograd.grad((fused * pull).sum(), parameters)
    for ours, theirs in zip(grads, expected, strict=True):
        assert theirs.abs().max() > 1e-3
        assert distance(ours, theirs) < 1e-5 * max(1.0, float(theirs.abs().max()))


@torch.no_grad()
def test_with_qk_norm_it_is_the_formula() -> None:
    """softmax(q^ k^T / sqrt(d)) v, head by head, with q^ and k^ normalised by hand."""
    module, x = attention(qk_norm=True), some(2, 7, DIM)
    d = DIM // HEADS
    wq, wk, wv = module.to_qkv.weight.split(DIM)
    bq, bk, bv = module.to_qkv.bias.split(DIM)
    heads, maps = [], []
    for h in range(HEADS):
        rows = slice(h * d, (h + 1) * d)
        q, k, v = (x @ w[rows].T + b[rows] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        q, k = (
            (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            for z in (q, k)
        )
        weights = (torch.einsum("bid,bjd->bij", q, k) / math.sqrt(d)).exp()
        weights = weights / weights.sum(-1, keepdim=True)
        heads.append(torch.einsum("bij,bjd->bid", weights, v))
        maps.append(weights)
    expected = torch.cat(heads, -1) @ module.to_out.weight.T + module.to_out.bias
    assert distance(module(x), expected) < 1e-5
    assert distance(module.attention_maps(x), torch.stack(maps, 1)) < 1e-5


@pytest.mark.parametrize("qk_norm", [True, False])
@torch.no_grad()
def test_maps_are_what_the_output_was_mixed_with(qk_norm: bool) -> None:
    module, x = attention(qk_norm), some(2, 7, DIM)
    maps = module.attention_maps(x)
    assert maps.shape == (2, HEADS, 7, 7)
    assert maps.min() >= 0
    assert distance(maps.sum(-1), torch.ones(2, HEADS, 7)) < 1e-6
    assert distance(maps.sum(-2), torch.ones(2, HEADS, 7)) > 0.1, "columns need not sum to one"
    v = module.heads(x)[2]
    mixed = torch.einsum("bhij,bhjd->bihd", maps, v).reshape(2, 7, DIM)
    assert distance(module.to_out(mixed), module(x)) < 1e-5


@pytest.mark.parametrize("qk_norm", [True, False])
@torch.no_grad()
def test_the_order_of_the_vectors_does_not_matter(qk_norm: bool) -> None:
    module, x = attention(qk_norm), some(2, 7, DIM)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    assert distance(module(x[:, order]), module(x)[:, order]) < 1e-5
    maps, shuffled = module.attention_maps(x), module.attention_maps(x[:, order])
    assert distance(shuffled, maps[:, :, order][..., order]) < 1e-5


@torch.no_grad()
def test_qk_norm_bounds_the_logits() -> None:
    x = 1000 * some(2, 7, DIM)
    bound = math.sqrt(DIM // HEADS)  # |q| = |k| = sqrt(d), so |q . k| / sqrt(d) <= sqrt(d)
    spread = {}
    for qk_norm in (True, False):
        q, k, _ = attention(qk_norm).heads(x)
        logits = (q.double() @ k.double().transpose(-1, -2)) / math.sqrt(DIM // HEADS)
        spread[qk_norm] = float(logits.abs().max())
    assert spread[True] <= bound + 1e-5
    assert spread[False] > 1000 * bound
    logs = attention(qk_norm=True).attention_maps(x).double().log()
    assert (logs.amax(-1) - logs.amin(-1)).max() <= 2 * bound + 1e-5


def test_attention_refuses_heads_that_do_not_divide() -> None:
    for heads in (5, 0, -1):
        with pytest.raises(ValueError, match=f"num_heads must divide .* 24; got {heads}$"):
            MultiHeadSelfAttention(DIM, heads)
    with pytest.raises(ValueError, match=r"num_heads must divide .* 24; got 5$"):
        TransformerBlock(DIM, 5)


def torch_block() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        DIM, HEADS, 4 * DIM, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )


@torch.no_grad()
def copy_mlp(ours: TransformerBlock, theirs: nn.TransformerEncoderLayer) -> None:
    first, second = (m for m in ours.mlp.modules() if isinstance(m, nn.Linear))
    theirs.linear1.load_state_dict(first.state_dict())
    theirs.linear2.load_state_dict(second.state_dict())


def test_block_equals_torch_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = TransformerBlock(DIM, HEADS, qk_norm=False)
    perturb(ours)
    theirs = torch_block()
    copy_attention(ours.attention, theirs.self_attn)
    copy_mlp(ours, theirs)
    theirs.norm1.load_state_dict(ours.norm1.state_dict())
    theirs.norm2.load_state_dict(ours.norm2.state_dict())
    x = some(2, 7, DIM)
    assert distance(ours(x), theirs(x)) < 1e-5


@pytest.mark.parametrize("qk_norm", [True, False])
def test_conditioned_block_starts_as_the_identity(qk_norm: bool) -> None:
    block = TransformerBlock(DIM, HEADS, condition_dim=CONDITION, qk_norm=qk_norm)
    x = some(2, 7, DIM)
    assert distance(block(x, some(2, CONDITION)), x) == 0


@torch.no_grad()
def test_conditioned_block_is_an_encoder_layer_whose_norms_and_gates_follow_the_condition() -> None:
    """Scale and shift act as the norm's weight and bias, the gate as a factor on what is added."""
    torch.manual_seed(0)
    block = TransformerBlock(DIM, HEADS, condition_dim=CONDITION, qk_norm=False)
    perturb(block)
    assert block.modulation is not None
    x, condition = some(2, 7, DIM), some(2, CONDITION, seed=4)
    silu = condition / (1 + (-condition).exp())
    every = silu @ block.modulation.weight.T + block.modulation.bias  # (B, 6 D)
    assert distance(torch.cat(block.modulations(condition), -1)[:, 0], every) < 1e-5
    for i in range(2):
        scale1, shift1, gate1, scale2, shift2, gate2 = every[i].split(DIM)
        theirs = torch_block()
        copy_attention(block.attention, theirs.self_attn)
        copy_mlp(block, theirs)
        theirs.norm1.weight.copy_(1 + scale1)
        theirs.norm1.bias.copy_(shift1)
        theirs.norm2.weight.copy_(1 + scale2)
        theirs.norm2.bias.copy_(shift2)
        for linear, gate in ((theirs.self_attn.out_proj, gate1), (theirs.linear2, gate2)):
            linear.weight.mul_(gate[:, None])
            linear.bias.mul_(gate)
        assert distance(block(x, condition)[i], theirs(x[i : i + 1])[0]) < 2e-5


@pytest.mark.parametrize("condition_dim", [None, CONDITION])
@torch.no_grad()
def test_block_maps_are_those_of_its_attention_on_what_it_reads(condition_dim: int | None) -> None:
    torch.manual_seed(0)
    block = TransformerBlock(DIM, HEADS, condition_dim=condition_dim)
    perturb(block)
    x = some(2, 7, DIM)
    condition = None if condition_dim is None else some(2, condition_dim, seed=4)
    read: list[Tensor] = []
    hook = block.attention.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    block(x, condition)
    hook.remove()
    expected = block.attention.attention_maps(read[0])
    assert distance(block.attention_maps(x, condition), expected) < 1e-6


def test_every_parameter_of_a_conditioned_block_learns() -> None:
    block = TransformerBlock(DIM, HEADS, condition_dim=CONDITION)
    perturb(block)
    (block(some(2, 7, DIM), some(2, CONDITION)) * some(2, 7, DIM, seed=5)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-4, name


def test_block_says_when_a_condition_is_missing_or_too_many() -> None:
    x, condition = some(2, 7, DIM), some(2, CONDITION)
    with pytest.raises(ValueError, match="takes no condition; make it with condition_dim"):
        TransformerBlock(DIM, HEADS)(x, condition)
    block = TransformerBlock(DIM, HEADS, condition_dim=CONDITION)
    with pytest.raises(ValueError, match="give it a condition"):
        block(x)
    with pytest.raises(ValueError, match="give it a condition"):
        block.attention_maps(x)
