"""The whole network: what is it (the label), how noisy is it (the time), what does it look like.

Owns: `DiffusionTransformerUNet`, built in lesson 03 around the U-Net.
Implements the conditioning of Peebles & Xie 2023: the embeddings of time and label are added,
and their sum steers every block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .positional import TimeEmbedding
from .unet import UNetWithAttention


class DiffusionTransformerUNet(nn.Module):
    """Predicts the velocity v = dxt/dt of a noisy image, given its time and, if known, its class.

    >>> model = DiffusionTransformerUNet(image_size=32, num_classes=10)
    >>> xt, t, labels = torch.randn(2, 3, 32, 32), torch.rand(2), torch.tensor([7, 3])
    >>> model(xt, t, labels).shape
    torch.Size([2, 3, 32, 32])

    Args:
        image_size: height and width in pixels, a multiple of 4.
        num_classes: number of labels; 0 for a model without classes.
        embedding_dim: the size of everything, a multiple of 8; see `UNetWithAttention`.
        num_heads: heads of each transformer block.
        channels: 3 for colour images.
        depth: number of transformer blocks.
        class_names: what the labels are called, in their order, for those who ask by name.

    Attributes:
        null_label: the label that says "any class": train with it now and then, and the model
            can be guided (Ho & Salimans 2022).
        config: the arguments as a dictionary; `DiffusionTransformerUNet(**config)` is its like.

    Raises:
        ValueError: for sizes that do not fit each other; on use, for images, times or labels of
            the wrong shape, or (on a CPU) labels out of range.

    Source: Peebles & Xie 2023, figure 3.
    """

    def __init__(
        self,
        image_size: int = 32,
        num_classes: int = 10,
        embedding_dim: int = 128,
        num_heads: int = 4,
        *,
        channels: int = 3,
        depth: int = 4,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        _check_model(image_size, num_classes, class_names)
        self.image_size = image_size
        self.num_classes = num_classes
        self.channels = channels
        self.null_label = num_classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.config = {
            "image_size": image_size,
            "num_classes": num_classes,
            "embedding_dim": embedding_dim,
            "num_heads": num_heads,
            "channels": channels,
            "depth": depth,
            "class_names": None if class_names is None else list(class_names),
        }
        condition_dim = 2 * embedding_dim
        self.time_embedding = TimeEmbedding(condition_dim)
        self.label_embedding = nn.Embedding(num_classes + 1, condition_dim)
        self.unet = UNetWithAttention(
            channels, channels, embedding_dim, num_heads, condition_dim=condition_dim, depth=depth
        )
        self.reset_ends()
        self.to(memory_format=torch.channels_last)

    def reset_ends(self) -> None:
        """Labels start apart but small, the last convolution at zero, and so the prediction."""
        nn.init.normal_(self.label_embedding.weight, std=0.3)
        last = self.unet.unfold[0]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """The velocity at (xt, t).

        Args:
            xt: (B, channels, image_size, image_size), noisy images.
            t: (B,), times in [0, 1]: 0 is data, 1 is noise.
            labels: (B,) integers in [0, num_classes], `null_label` among them; None for any class.

        Returns:
            (B, channels, image_size, image_size).
        """
        if labels is None:
            labels = torch.full((len(xt),), self.null_label, device=xt.device)
        _check_inputs(self, xt, t, labels)
        condition = self.time_embedding(t) + self.label_embedding(labels)  # (B, C)
        return self.unet(xt, condition)


def _check_model(image_size: int, num_classes: int, class_names: Sequence[str] | None) -> None:
    if image_size < 4 or image_size % 4:
        raise ValueError(f"image_size must be a multiple of 4, got {image_size}")
    if num_classes < 0:
        raise ValueError(f"num_classes must be 0 or more, got {num_classes}")
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"{num_classes} classes cannot have {len(class_names)} class_names")


def _check_inputs(model: DiffusionTransformerUNet, xt: Tensor, t: Tensor, labels: Tensor) -> None:
    size = (model.channels, model.image_size, model.image_size)
    if xt.ndim != 4 or xt.shape[1:] != size:
        raise ValueError(
            f"expected images of shape (B, {', '.join(map(str, size))}), got {tuple(xt.shape)}"
        )
    for name, value in {"t": t, "labels": labels}.items():
        if value.shape != (len(xt),):
            raise ValueError(
                f"{name} must have shape ({len(xt)},), one for each image; got {tuple(value.shape)}"
            )
    # On a GPU a look at the labels would wait for it; there the embedding itself refuses them.
    look = labels.device.type == "cpu" and not torch.compiler.is_compiling()
    if look and len(labels):
        low, high = labels.aminmax()
        if low < 0 or high > model.null_label:
            wrong = int(low if low < 0 else high)
            raise ValueError(f"labels must be in [0, {model.null_label}], got {wrong}")
