"""A U-Net with transformer blocks at its lowest resolution.

Built in lesson 03. Implements Ronneberger et al. 2015 (down, up, skip), with most of the work done
by transformer blocks at a quarter of the resolution (Hoogeboom et al. 2023; Peebles & Xie 2023).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import TransformerBlock, modulate
from .positional import position_grid


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input (He et al. 2016).

    A condition (B, condition_dim) scales and shifts the features between them (Dhariwal & Nichol
    2021, section 3). The second convolution starts at zero, so that with equal numbers of channels
    the block starts as the identity.

    >>> block = ResidualBlock(64, 64, condition_dim=32)
    >>> block(torch.randn(2, 64, 16, 16), torch.randn(2, 32)).shape
    torch.Size([2, 64, 16, 16])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, condition_dim: int | None = None
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = ChannelNorm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Conv2d(in_channels, out_channels, 1)
        self.modulation: nn.Linear | None = None
        if condition_dim is not None:
            self.modulation = nn.Linear(condition_dim, 2 * out_channels)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (B, in_channels, H, W), condition (B, C) or None, to (B, out_channels, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))  # (B, out, H, W)
        h = self.norm2(h)
        if self.modulation is not None:
            if condition is None:
                raise ValueError("this block was made with condition_dim: give it a condition")
            scale, shift = self.modulation(F.silu(condition))[:, :, None, None].chunk(2, dim=1)
            h = modulate(h, scale, shift)
        elif condition is not None:
            raise ValueError("this block takes no condition; make it with condition_dim=C")
        return self.skip(x) + self.conv2(F.silu(h))


class ChannelNorm(nn.Module):
    """Layer normalisation of each pixel over its channels.

    With channels last in memory, it is four times faster on a CPU than the usual GroupNorm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        height, width = x.shape[-2:]
        # Height and width as one axis: with two, a compiled step mixes memory layouts and is slow.
        x = x.flatten(2).transpose(1, 2)  # (B, H * W, C): a view, where channels are last in memory
        x = F.layer_norm(x, x.shape[-1:], self.weight, self.bias)
        return x.transpose(1, 2).unflatten(2, (height, width))


class Downsample(nn.Conv2d):
    """Halves height and width: a learned linear map turns every 2x2 pixels into one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)


class Upsample(nn.Sequential):
    """Doubles height and width: a learned linear map turns every pixel into 2x2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, 4 * out_channels, 1), nn.PixelShuffle(2))


class UNetWithAttention(nn.Module):
    """An encoder, transformer blocks on its smallest feature map, and a decoder with a skip.

    Every 2x2 pixels are folded into channels (Shi et al. 2016). Convolutions work at half the
    resolution, with E / 2 channels. Transformer blocks (Peebles & Xie 2023) work at a quarter of
    the resolution, where 32x32 pixels are 64 tokens of width D = 3 E / 2. The decoder joins both
    (Ronneberger et al. 2015, figure 1).

    >>> unet = UNetWithAttention(3, 3, embedding_dim=64, num_heads=4)
    >>> unet(torch.randn(2, 3, 32, 32)).shape  # height and width must be multiples of 4
    torch.Size([2, 3, 32, 32])

    `embedding_dim` is the base width E, a multiple of 8; `num_heads` must divide D.
    `condition_dim` is the width C of the condition; without it, the network takes no condition.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_dim: int,
        num_heads: int,
        *,
        condition_dim: int | None = None,
        depth: int = 4,
    ) -> None:
        super().__init__()
        if embedding_dim < 8 or embedding_dim % 8:
            raise ValueError(f"embedding_dim must be a multiple of 8, got {embedding_dim}")
        width, self.token_dim = embedding_dim // 2, 3 * embedding_dim // 2
        self.fold = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, width, 3, padding=1)
        )
        self.encode = ResidualBlock(width, width, condition_dim=condition_dim)
        self.down = Downsample(width, self.token_dim)
        self.blocks = nn.ModuleList(
            TransformerBlock(self.token_dim, num_heads, condition_dim=condition_dim)
            for _ in range(depth)
        )
        self.up = Upsample(self.token_dim, width)
        self.decode = ResidualBlock(2 * width, width, condition_dim=condition_dim)
        self.norm = ChannelNorm(width)
        self.unfold = nn.Sequential(
            nn.Conv2d(width, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (B, in_channels, H, W), condition (B, C) or None, to (B, out_channels, H, W)."""
        if x.ndim != 4 or x.shape[-2] % 4 or x.shape[-1] % 4:
            raise ValueError(
                "expected images (B, channels, H, W) with H and W multiples of 4, "
                f"got {tuple(x.shape)}"
            )
        x = x.contiguous(memory_format=torch.channels_last)
        skip = self.encode(self.fold(x), condition)  # (B, E / 2, H / 2, W / 2)
        h = self.down(skip)  # (B, D, H / 4, W / 4)
        height, width = h.shape[-2:]
        tokens = h.flatten(2).transpose(1, 2)  # (B, N, D), one for every 4x4 pixels
        places = position_grid(height, width, self.token_dim, device=x.device)  # (N, D)
        tokens = tokens + places.to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, condition)
        h = tokens.transpose(1, 2).unflatten(2, (height, width))  # (B, D, H / 4, W / 4)
        h = torch.cat([self.up(h), skip], dim=1)  # (B, E, H / 2, W / 2)
        h = self.decode(h, condition)  # (B, E / 2, H / 2, W / 2)
        return self.unfold(F.silu(self.norm(h)))  # (B, out_channels, H, W)
