"""The smallest model and data there are, for the tests of training."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from aetherfusion import (
    History,
    train,
)


class Affine(nn.Module):
    """The smallest model there is: v = a xt + b + c[label], the same for every pixel."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.null_label = num_classes
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))
        self.c = nn.Embedding(num_classes + 1, 1)
        self.seen: list[Tensor] = []

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(labels.detach().clone())
        return self.a * xt + self.b + self.c(labels)[:, :, None, None]


def batches(num_images: int = 32, batch_size: int = 8, num_classes: int = 2) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 1, 4, 4, generator=generator) * 2 - 1
    labels = torch.randint(0, num_classes, (num_images,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size, shuffle=True)


def run(model: nn.Module | None = None, epochs: int = 2, **options: object) -> History:
    model = Affine() if model is None else model
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    options = {"precision": "no", "progress": False, **options}
    loader = options.pop("loader") if "loader" in options else batches()
    return train(model, loader, nn.MSELoss(), optimizer, epochs, **options)  # type: ignore[arg-type]


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk: writing more than this into one file is an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
