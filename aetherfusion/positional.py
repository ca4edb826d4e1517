"""Sinusoidal encodings of positions in a sequence, of the cells of a grid, and of the time.

Built in lesson 01. Implements Vaswani et al. 2017, section 3.5: the sine and cosine of a position
at geometrically spaced frequencies.
"""

import math

import torch
from torch import Tensor, nn


def sinusoid(positions: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Encodes each position by `dim / 2` pairs of sine and cosine, from fast to slow.

    Entry 2i is `sin(p * w_i)` and entry 2i + 1 is `cos(p * w_i)`, with
    `w_i = max_period ** (-2i / dim)`. The dot product of two encodings depends only on the
    distance between their positions.

    >>> sinusoid(torch.arange(3), 8).shape
    torch.Size([3, 8])

    Args:
        positions: any shape (...), real numbers.
        dim: even width of the encoding.
        max_period: the slowest pair has a period of about `2 * pi * max_period` positions.

    Returns:
        (..., dim) float32, on the positions' device.

    Raises:
        ValueError: if `dim` is odd or not positive.

    Source: Vaswani et al. 2017, section 3.5.
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

    Args:
        d_model: even width D of the vectors.
        max_len: the longest sequence that it can encode.

    Raises:
        ValueError: if `d_model` is odd; on use, if the input is not (B, N, D) or N > `max_len`.

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

    >>> position_grid(8, 8, 64).shape
    torch.Size([64, 64])

    Args:
        height, width: size of the grid in cells.
        dim: width of the encoding, a multiple of 4.
        device: of the result.

    Returns:
        (height * width, dim) float32.

    Raises:
        ValueError: if `dim` is not a multiple of 4.
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
    """Turns the diffusion time t into a vector that conditions the network.

    >>> TimeEmbedding(256)(torch.rand(4)).shape
    torch.Size([4, 256])

    Args:
        dim: even width of the result.

    Source: Ho et al. 2020, appendix B.
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
