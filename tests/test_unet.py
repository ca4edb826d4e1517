"""The U-Net and its parts: numbers against torch, its receptive field, and its positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aetherfusion.attention import TransformerBlock
from aetherfusion.unet import ChannelNorm, Downsample, ResidualBlock, UNetWithAttention, Upsample


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def perturb(module: nn.Module, size: float = 0.1, but: type[nn.Module] | None = None) -> None:
    """Random weights everywhere, except in modules of type `but`: zeros hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    spared = {id(p) for m in module.modules() if but and isinstance(m, but) for p in m.parameters()}
    for parameter in module.parameters():
        if id(parameter) not in spared:
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def small_unet(condition_dim: int | None = None, depth: int = 2) -> UNetWithAttention:
    torch.manual_seed(0)
    return UNetWithAttention(3, 2, 16, 2, condition_dim=condition_dim, depth=depth)


@torch.no_grad()
def test_channel_norm_is_layer_norm_of_each_pixel() -> None:
    x = 3 * some(2, 6, 5, 4) + 1
    ours, theirs, group = ChannelNorm(6), nn.LayerNorm(6), nn.GroupNorm(1, 6)
    perturb(ours)
    theirs.load_state_dict(ours.state_dict())
    group.load_state_dict(ours.state_dict())
    assert distance(ours(x), theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)) < 1e-5
    # GroupNorm with one group also averages over the pixels: the same for one pixel only.
    assert distance(ours(x[:, :, :1, :1]), group(x[:, :, :1, :1])) < 1e-5
    assert distance(ours(x), group(x)) > 0.1


@pytest.mark.parametrize("condition_dim", [None, 7])
def test_residual_block_starts_as_the_identity(condition_dim: int | None) -> None:
    block = ResidualBlock(6, 6, condition_dim=condition_dim)
    x, condition = some(2, 6, 8, 8), None if condition_dim is None else some(2, condition_dim)
    assert distance(block(x, condition), x) == 0
    block = ResidualBlock(6, 4, condition_dim=condition_dim)
    convolution = next(
        m for m in block.modules() if isinstance(m, nn.Conv2d) and 1 in m.kernel_size
    )
    expected = torch.einsum("oi,bihw->bohw", convolution.weight[:, :, 0, 0], x)
    assert convolution.bias is not None
    expected = expected + convolution.bias[:, None, None]
    assert distance(block(x, condition), expected) < 1e-5


@pytest.mark.parametrize("out_channels", [6, 4])
@torch.no_grad()
def test_residual_block_is_the_formula(out_channels: int) -> None:
    """x + conv(silu((1 + scale) norm(conv(silu(norm(x)))) + shift))."""
    block = ResidualBlock(6, out_channels, condition_dim=7)
    perturb(block, 0.3)
    x, condition = some(2, 6, 8, 8), some(2, 7, seed=4)
    assert block.modulation is not None

    def norm(h: Tensor, like: ChannelNorm) -> Tensor:
        mean, var = h.mean(1, keepdim=True), h.var(1, correction=0, keepdim=True)
        return (h - mean) / (var + 1e-5).sqrt() * like.weight[:, None, None] + like.bias[
            :, None, None
        ]

    def silu(h: Tensor) -> Tensor:
        return h / (1 + (-h).exp())

    h = norm(block.conv1(silu(norm(x, block.norm1))), block.norm2)
    scale, shift = block.modulation(silu(condition))[..., None, None].split(out_channels, 1)
    h = block.conv2(silu((1 + scale) * h + shift))
    assert distance(block(x, condition), block.skip(x) + h) < 1e-5


def test_residual_block_asks_for_its_condition() -> None:
    with pytest.raises(ValueError, match="give it a condition"):
        ResidualBlock(6, 6, condition_dim=7)(some(2, 6, 8, 8))


@torch.no_grad()
def test_downsample_makes_one_pixel_of_four() -> None:
    down, x = Downsample(6, 5), some(2, 6, 8, 12)
    assert down.bias is not None
    y = down(x)
    assert y.shape == (2, 5, 4, 6)
    for i in range(4):
        for j in range(6):
            patch = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            expected = torch.einsum("bcij,ocij->bo", patch, down.weight) + down.bias
            assert distance(y[:, :, i, j], expected) < 1e-5


@torch.no_grad()
def test_upsample_makes_four_pixels_of_one() -> None:
    up, x = Upsample(6, 5), some(2, 6, 4, 3)
    y = up(x)
    assert y.shape == (2, 5, 8, 6)
    convolution = next(m for m in up.modules() if isinstance(m, nn.Conv2d))
    assert convolution.bias is not None
    weight = convolution.weight[:, :, 0, 0].reshape(5, 2, 2, 6)
    bias = convolution.bias.reshape(5, 2, 2)
    for i in range(8):
        for j in range(6):
            expected = x[:, :, i // 2, j // 2] @ weight[:, i % 2, j % 2].T + bias[:, i % 2, j % 2]
            assert distance(y[:, :, i, j], expected) < 1e-5


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (64, 64), (16, 24)])
def test_unet_keeps_the_size(size: tuple[int, int]) -> None:
    unet = small_unet()
    with torch.no_grad():
        y = unet(some(2, 3, *size))
    assert y.shape == (2, 2, *size)
    assert y.isfinite().all() and y.std() > 1e-3


@pytest.mark.parametrize("pixel", [(0, 0), (31, 5), (17, 30)])
def test_every_pixel_sees_the_whole_image(pixel: tuple[int, int]) -> None:
    unet = small_unet(condition_dim=8)
    perturb(unet)
    x = some(1, 3, 32, 32).requires_grad_()
    unet(x, some(1, 8))[0, :, pixel[0], pixel[1]].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().amin((0, 1)).min() > 0


def test_without_its_blocks_a_pixel_sees_its_surroundings() -> None:
    """The blocks start as the identity: what is left is local, and nothing has changed places."""
    unet = small_unet(condition_dim=8)
    perturb(unet, but=TransformerBlock)
    for row, column in [(6, 57), (57, 6), (40, 12)]:
        x = some(1, 3, 64, 64).requires_grad_()
        unet(x, some(1, 8))[0, :, row, column].sum().backward()
        assert x.grad is not None
        seen = x.grad[0].abs().sum(0).nonzero()
        assert (seen - torch.tensor([row, column])).abs().max() <= 28
        assert x.grad[0, :, row, column].abs().max() > 0
        # Beyond what the convolutions at the top see alone, via the tokens.
        assert (seen - torch.tensor([row, column])).abs().max() >= 8


@torch.no_grad()
def test_tokens_know_where_they_are() -> None:
    """On a constant image convolutions see the same everywhere but at the border."""
    unet = small_unet()
    perturb(unet)
    y = unet(torch.full((1, 3, 96, 96), 0.5))[0, :, 32:64, 32:64]
    cells = y.unflatten(1, (8, 4)).unflatten(3, (8, 4)).permute(1, 3, 0, 2, 4)  # (8, 8, C, 4, 4)
    assert (cells[1:] - cells[:-1]).abs().amax((-3, -2, -1)).min() > 1e-3, "rows look alike"
    assert (cells[:, 1:] - cells[:, :-1]).abs().amax((-3, -2, -1)).min() > 1e-3, "columns do"


@torch.no_grad()
def test_a_cell_has_the_same_place_in_images_of_any_shape() -> None:
    unet = small_unet(condition_dim=8)
    perturb(unet, but=TransformerBlock)  # which start as the identity: the rest is local
    square, flat = (
        unet(torch.full((1, 3, height, 96), 0.5), some(1, 8))[..., 24:40, 24:72]
        for height in (96, 64)
    )
    assert square.std() > 1e-3
    assert distance(flat, square) < 1e-5


@torch.no_grad()
def test_the_skip_carries_what_the_tokens_do_not() -> None:
    unet = small_unet()
    perturb(unet)
    (up,) = (m for m in unet.modules() if isinstance(m, Upsample))
    for parameter in up.parameters():
        parameter.zero_()
    x, other = some(2, 1, 3, 32, 32)
    assert distance(unet(x), unet(other)) > 1e-2


@pytest.mark.parametrize("condition_dim", [None, 8])
def test_gradient_reaches_every_parameter(condition_dim: int | None) -> None:
    unet = small_unet(condition_dim)
    perturb(unet)
    condition = None if condition_dim is None else some(3, condition_dim)
    (unet(some(3, 3, 16, 16), condition) * some(3, 2, 16, 16, seed=2)).sum().backward()
    for name, parameter in unet.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-5, name


@torch.no_grad()
def test_condition_steers_each_image_by_its_own() -> None:
    unet = small_unet(condition_dim=8)
    perturb(unet)
    x, condition = some(1, 3, 16, 16).expand(3, -1, -1, -1), some(3, 8)
    y = unet(x, condition)
    assert distance(y[0], y[1]) > 1e-2
    assert distance(unet(x, condition.flip(0)), y.flip(0)) < 1e-5


@torch.no_grad()
def test_depth_is_the_number_of_transformer_blocks() -> None:
    for depth in (1, 3):
        unet = small_unet(depth=depth)
        assert sum(isinstance(m, TransformerBlock) for m in unet.modules()) == depth
        assert unet(some(1, 3, 16, 16)).shape == (1, 2, 16, 16)


@torch.no_grad()
def test_memory_format_changes_no_number() -> None:
    unet = small_unet()
    perturb(unet)
    x = some(2, 3, 16, 16)
    y = unet(x)
    assert distance(unet(x.contiguous(memory_format=torch.channels_last)), y) < 1e-6
    assert distance(unet.to(memory_format=torch.channels_last)(x), y) < 1e-5


def test_unet_says_what_does_not_fit() -> None:
    for width in (18, 0, -8):
        with pytest.raises(ValueError, match=f"embedding_dim must be a multiple of 8, got {width}"):
            UNetWithAttention(3, 3, width, 2)
    # The transformer blocks are 3/2 as wide as embedding_dim: 16 is divisible by 16, 24 is not.
    with pytest.raises(
        ValueError, match="num_heads must divide the width of the tokens, 24; got 16"
    ):
        UNetWithAttention(3, 3, 16, 16)
    with pytest.raises(ValueError, match="condition"):
        small_unet(condition_dim=8)(some(1, 3, 16, 16))
    with pytest.raises(ValueError, match="condition"):
        small_unet()(some(1, 3, 16, 16), some(1, 8))


@pytest.mark.parametrize("size", [(18, 18), (17, 16), (16, 18)])
def test_unet_says_that_the_image_must_be_a_multiple_of_four(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"multiples? of 4"):
        small_unet()(some(1, 3, *size))
