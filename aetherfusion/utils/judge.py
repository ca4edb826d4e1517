"""The judge, a small classifier of CIFAR-10 whose features compare images. Lesson 07 uses it.

tests/benchmarks/train_judge.py trains it. It replaces Inception where there is no internet.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

JUDGE_FILE = Path(__file__).parent.parent / "weights" / "judge.safetensors"


class Judge(nn.Module):
    """A convolutional classifier of 32x32 images in three stages.

    Source: Jordan 2024 ("94% on CIFAR-10 in 3.29 seconds on a single GPU"), in its proportions.
    """

    def __init__(self, num_classes: int = 10, widths: Sequence[int] = (64, 256, 256)) -> None:
        super().__init__()
        self.num_features = widths[-1]
        # Every 2x2 patch in 24 numbers: its 12 principal directions and their opposites.
        self.patches = nn.Conv2d(3, 24, kernel_size=2)
        self.stages = nn.Sequential(*map(Stage, (24, *widths), widths))
        self.classify = nn.Linear(self.num_features, num_classes, bias=False)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) in [0, 1] to (B, num_features); outside training also of mirror images."""
        if not self.training:
            return (self._features_of_view(images) + self._features_of_view(images.flip(3))) / 2
        return self._features_of_view(images)

    def _features_of_view(self, images: Tensor) -> Tensor:
        x = (images - 0.47) / 0.25  # about the mean and standard deviation of CIFAR-10
        x = self.stages(F.gelu(self.patches(x.contiguous(memory_format=torch.channels_last))))
        return x.amax(dim=(2, 3))  # (B, num_features): the strongest response at any place

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) in [0, 1] to logits (B, num_classes)."""
        return self.classify(self.features(images)) / self.num_features**0.5


class Stage(nn.Module):
    """Two convolutions at half the resolution, the second one added to the first."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H // 2, W // 2)."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return x + F.gelu(self.norm2(self.conv2(x)))


def load_judge(path: str | Path = JUDGE_FILE) -> Judge:
    """The classifier that comes with the package, or one from another file, on the CPU."""
    judge = Judge()
    judge.load_state_dict(load_file(path))  # which makes float32 of its float16
    return judge.eval().requires_grad_(False)
