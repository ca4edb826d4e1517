"""Sinusoidal encodings of positions in a sequence, of the cells of a grid, and of the time.

Built in lesson 01. Implements Vaswani et al. 2017, section 3.5 (sines and cosines of positions).
"""

import math

import torch
from torch import Tensor, nn


def sinusoid(positions: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Encodes each position by `dim / 2` pairs of sine and cosine, from fast to slow.

    Positions (...) give (..., dim) float32. Entry 2i is `sin(p * w_i)` and entry 2i + 1 is
    `cos(p * w_i)`, with `w_i = max_period ** (-2i / dim)`. The dot product of two encodings depends
    only on the distance between their positions (Vaswani et al. 2017, section 3.5).

    >>> sinusoid(torch.arange(3), 8).shape  # an odd dim is a ValueError
    torch.Size([3, 8])
    """
    if dim <= 0 or dim % 2:
        raise ValueError(
            f"dim must be even and positive, since sines and cosines come in pairs; got {dim}"
        )
    i = torch.arange(dim // 2, device=positions.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(max_period) * 2 * i / dim)  # (dim / 2,)
    angles = positions.float()[..., None] * frequencies  # (..., dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # (..., dim)


class PositionalEncoding(nn.Module):
    """Adds to each vector of a sequence the encoding of its position.

    >>> PositionalEncoding(64)(torch.zeros(2, 10, 64)).shape
    torch.Size([2, 10, 64])

    `d_model` must be even. A sequence of more than `max_len` positions is a ValueError.
    Source: Vaswani et al. 2017, section 3.5.
    """

    encoding: Tensor

    def __init__(self, d_model: int, max_len: int = 1000) -> None:
        super().__init__()
        # A buffer: it moves with the module. It is recomputed, never stored.
        table = sinusoid(torch.arange(max_len), d_model)  # (max_len, D)
        self.register_buffer("encoding", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D), in the dtype of `x`."""
        max_len, d_model = self.encoding.shape
        if x.ndim != 3 or x.shape[-1] != d_model:
            raise ValueError(f"expected x of shape (B, N, {d_model}), got {tuple(x.shape)}")
        if x.shape[1] > max_len:
            raise ValueError(
                f"the sequence has {x.shape[1]} positions, more than max_len={max_len}; "
                f"make PositionalEncoding(d_model={d_model}, max_len={x.shape[1]})"
            )
        return x + self.encoding[: x.shape[1]].to(x.dtype)


def position_grid(
    height: int, width: int, dim: int, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Encodes each cell of a grid, row by row: half of the entries its row, half its column.

    >>> position_grid(8, 8, 64).shape  # (height * width, dim), with dim a multiple of 4
    torch.Size([64, 64])
    """
    if dim % 4:
        raise ValueError(f"dim must be a multiple of 4 (sin and cos for two axes), got {dim}")
    rows = sinusoid(torch.arange(height, device=device), dim // 2)  # (H, dim / 2)
    columns = sinusoid(torch.arange(width, device=device), dim // 2)  # (W, dim / 2)
    grid = torch.cat(
        [
            rows[:, None].expand(-1, width, -1),
            columns[None].expand(height, -1, -1),
        ],
        dim=-1,
    )  # (H, W, dim)
    return grid.reshape(height * width, dim)


class TimeEmbedding(nn.Module):
    """Turns the diffusion time into a condition of even width `dim` (Ho et al. 2020, appendix B).

    >>> TimeEmbedding(256)(torch.rand(4)).shape
    torch.Size([4, 256])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) times in [0, 1] to (B, dim)."""
        # In thousandths, so that the fastest pair distinguishes t = 0.500 from t = 0.501.
        encoding = sinusoid(1000 * t, self.dim)  # (B, dim)
        return self.mlp(encoding.to(next(self.parameters()).dtype))
