"""The full network: a U-Net conditioned on the time and the class label. Built in lesson 03.

Implements Peebles & Xie 2023, section 3.2: the sum of two embeddings conditions every block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .diffusion import FLOW, NoisePath, SamplingSettings
from .positional import TimeEmbedding
from .unet import UNetWithAttention


class DiffusionTransformerUNet(nn.Module):
    """Predicts the velocity v = dxt/dt of noisy images, given their times and, if known, classes.

    >>> model = DiffusionTransformerUNet(image_size=32, num_classes=10)
    >>> xt, t, labels = torch.randn(2, 3, 32, 32), torch.rand(2), torch.tensor([7, 3])
    >>> model(xt, t, labels).shape
    torch.Size([2, 3, 32, 32])

    Time and label condition every block (Peebles & Xie 2023, figure 3). `null_label` means "any
    class"; using it for some labels in training makes guidance possible (Ho & Salimans 2022).
    `DiffusionTransformerUNet(**model.config)` is a new model of the same kind. A ValueError reports
    sizes that do not fit each other, inputs of the wrong shape and (on a CPU) labels out of range.

    `image_size` is the height and width in pixels, a multiple of 4; for `embedding_dim`,
    `num_heads` and `depth` see `UNetWithAttention`. `class_names`, in the order of the labels,
    let you ask for images by name. The model is trained and sampled on `path`: `FLOW` or `COSINE`.
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
        path: NoisePath = FLOW,
    ) -> None:
        super().__init__()
        if min(image_size, num_classes, embedding_dim) < 1 or image_size % 4:
            raise ValueError(
                "image_size must be a multiple of 4, num_classes and embedding_dim at least 1; "
                f"got {image_size}, {num_classes} and {embedding_dim}"
            )
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"got {len(class_names)} class_names for {num_classes} classes")
        if isinstance(path, str):
            raise ValueError(f"path must be a NoisePath, FLOW or COSINE; got the name {path!r}")
        self.image_size, self.channels, self.path = image_size, channels, path
        self.sampling: SamplingSettings | None = None  # `train` sets it
        self.num_classes = self.null_label = num_classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.config = {
            "image_size": image_size,
            "num_classes": num_classes,
            "channels": channels,
            "embedding_dim": embedding_dim,
            "num_heads": num_heads,
            "depth": depth,
            "path": path,
            "class_names": class_names and list(class_names),
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
        """Starts the label embeddings small but distinct, and the prediction at zero."""
        nn.init.normal_(self.label_embedding.weight, std=0.3)
        last = self.unet.unfold[0]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """The velocity at xt (B, channels, image_size, image_size) and t (B,), shaped like xt.

        t = 0 is data, t = 1 is noise; labels (B,) are in [0, null_label], and None is any class.
        """
        if labels is None:
            labels = torch.full((len(xt),), self.null_label, device=xt.device)
        shape = (self.channels, self.image_size, self.image_size)
        if xt.shape[1:] != shape or not t.shape == labels.shape == xt.shape[:1]:
            raise ValueError(
                f"expected xt (B, {', '.join(map(str, shape))}), t (B,) and labels (B,); "
                f"got {tuple(xt.shape)}, {tuple(t.shape)} and {tuple(labels.shape)}"
            )
        if labels.device.type == "cpu" and not torch.compiler.is_compiling():  # a GPU would wait
            wrong = set(labels.tolist()) - set(range(self.null_label + 1))
            if wrong:
                raise ValueError(f"labels must be in [0, {self.null_label}], got {min(wrong)}")
        condition = self.time_embedding(t) + self.label_embedding(labels)  # (B, C)
        return self.unet(xt, condition)
