"""Where and when: the sinusoid against plain python, and each of its three readings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aetherfusion.positional import PositionalEncoding, TimeEmbedding, position_grid, sinusoid


def closed_form(position: float, dim: int, max_period: float = 10_000.0) -> list[float]:
    """Vaswani et al. 2017, section 3.5, one number at a time."""
    row = []
    for i in range(dim // 2):
        angle = position / max_period ** (2 * i / dim)
        row += [math.sin(angle), math.cos(angle)]
    return row


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


@pytest.mark.parametrize("dim", [2, 6, 64])
@pytest.mark.parametrize("max_period", [10_000.0, 50.0])
def test_sinusoid_is_its_closed_form(dim: int, max_period: float) -> None:
    positions = [0.0, 1.0, 2.0, 0.25, 17.5, 99.0, -3.0]
    expected = torch.tensor([closed_form(p, dim, max_period) for p in positions])
    assert distance(sinusoid(torch.tensor(positions), dim, max_period), expected) < 2e-5
    assert distance(sinusoid(torch.arange(3), dim), sinusoid(torch.arange(3.0), dim)) == 0


def test_sinusoid_keeps_the_shape_of_the_positions() -> None:
    positions = torch.arange(6.0).reshape(2, 3)
    grid = sinusoid(positions, 8)
    assert grid.shape == (2, 3, 8) and grid.dtype == torch.float32
    assert distance(grid[1, 2], torch.tensor(closed_form(5.0, 8))) < 1e-6
    assert sinusoid(torch.tensor(4.0), 8).shape == (8,)


def test_dot_products_depend_on_distance_only() -> None:
    dim = 32
    code = sinusoid(torch.arange(40), dim).double()
    dots = code @ code.T
    for apart in range(40):
        expected = sum(math.cos(apart * 10_000.0 ** (-2 * i / dim)) for i in range(dim // 2))
        along = dots.diagonal(apart)
        assert distance(along, torch.full_like(along, expected)) < 1e-4, f"distance {apart}"


@pytest.mark.parametrize("dim", [7, 0, -2])
def test_sinusoid_refuses_widths_without_pairs(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim must be even and positive.*got {dim}"):
        sinusoid(torch.arange(3), dim)


def test_positional_encoding_adds_the_closed_form() -> None:
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    expected = x + torch.tensor([closed_form(n, 16) for n in range(9)])
    assert distance(PositionalEncoding(16)(x), expected) < 1e-6
    assert distance(PositionalEncoding(16, max_len=9)(x), expected) < 1e-6


def test_positional_encoding_is_a_buffer_that_is_not_stored() -> None:
    module = PositionalEncoding(16, max_len=12)
    assert not list(module.parameters()), "the encoding must not be learnt"
    assert [tuple(b.shape) for b in module.buffers()] == [(12, 16)]
    assert module.state_dict() == {}, "the encoding is recomputed, never stored"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_positional_encoding_follows_the_dtype_of_its_input(dtype: torch.dtype) -> None:
    x = torch.zeros(1, 5, 16, dtype=dtype)
    expected = torch.tensor([[closed_form(n, 16) for n in range(5)]])
    tolerance = 2 * torch.finfo(dtype).eps + 1e-6
    for module in (PositionalEncoding(16), PositionalEncoding(16).to(dtype)):
        added = module(x)
        assert added.dtype == dtype
        assert distance(added, expected) < tolerance


def test_positional_encoding_moves_with_its_module() -> None:
    moved = PositionalEncoding(16).to("meta")
    assert {b.device.type for b in moved.buffers()} == {"meta"}
    assert moved(torch.zeros(2, 3, 16, device="meta")).device.type == "meta"


def test_positional_encoding_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"must be even and positive.*got 7"):
        PositionalEncoding(7)
    module = PositionalEncoding(16, max_len=10)
    assert module(torch.zeros(1, 10, 16)).shape == (1, 10, 16)
    with pytest.raises(ValueError, match=r"11 positions, more than max_len=10"):
        module(torch.zeros(1, 11, 16))
    with pytest.raises(ValueError, match=r"\(B, N, 16\), got \(2, 5, 8\)"):
        module(torch.zeros(2, 5, 8))
    with pytest.raises(ValueError, match=r"\(B, N, 16\), got \(5, 16\)"):
        module(torch.zeros(5, 16))


@pytest.mark.parametrize(("height", "width"), [(3, 5), (5, 3), (1, 4)])
def test_position_grid_is_half_row_half_column(height: int, width: int) -> None:
    dim = 12
    grid = position_grid(height, width, dim)
    assert grid.shape == (height * width, dim)
    for row in range(height):
        for column in range(width):
            expected = closed_form(row, dim // 2) + closed_form(column, dim // 2)
            cell = grid[row * width + column]
            assert distance(cell, torch.tensor(expected)) < 1e-6, f"cell {row}, {column}"


@pytest.mark.parametrize("dim", [6, 7, 2])
def test_position_grid_needs_two_pairs(dim: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 4.*got {dim}"):
        position_grid(2, 2, dim)


def test_time_embedding_is_its_network_on_the_clocks_of_thousandths() -> None:
    torch.manual_seed(0)
    embed = TimeEmbedding(16)
    t = torch.tensor([0.0, 0.001, 0.5, 1.0])
    first, second = (m for m in embed.modules() if isinstance(m, torch.nn.Linear))
    h = torch.tensor([closed_form(1000 * float(time), 16) for time in t])
    h = h @ first.weight.T + first.bias
    h = h * torch.sigmoid(h)
    assert distance(embed(t), h @ second.weight.T + second.bias) < 1e-4


def test_time_embedding_tells_near_times_apart() -> None:
    torch.manual_seed(0)
    embed = TimeEmbedding(64)
    with torch.no_grad():
        t = torch.arange(0, 1.0005, 0.001)  # 1001 times
        codes = embed(t)
        spread = (codes - codes.mean(0)).norm(dim=1).mean()
        neighbours = (codes[1:] - codes[:-1]).norm(dim=1)
        apart = torch.cdist(codes, codes) + 1e9 * torch.eye(len(t))
    # With t itself on the clocks a thousandth would move the code by about 1/1000 of the spread.
    assert neighbours.min() > 0.05 * spread
    assert apart.min() > 0.01 * spread, "two times look alike"


def test_time_embedding_reaches_every_parameter() -> None:
    embed = TimeEmbedding(16)
    embed(torch.rand(8)).square().sum().backward()
    for name, parameter in embed.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
