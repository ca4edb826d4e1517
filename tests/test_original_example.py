"""The five lines of the original script, as its users typed them, and what came with them."""

from pathlib import Path

import pytest
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import CIFAR10

from aetherfusion import (
    DiffusionTransformerUNet,
    PositionalEncoding,
    TransformerBlock,
    UNetWithAttention,
    generate_images,
    show_images,
    train,
)
from aetherfusion.data import find_cifar10

ROOT = Path(__file__).parent.parent


@pytest.fixture
def trainloader() -> DataLoader:
    for place in (None, ROOT / "data", ROOT.parent / "shared" / "data"):
        root = find_cifar10(place)
        if root is not None:
            break
    else:
        pytest.skip("no CIFAR-10 here: set AETHERFUSION_DATA to the folder that holds it")
    transform = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    trainset = CIFAR10(root=root, train=True, download=False, transform=transform)
    return DataLoader(Subset(trainset, range(96)), batch_size=16, shuffle=True)


def test_the_five_lines(trainloader: DataLoader) -> None:
    model = DiffusionTransformerUNet(image_size=32, num_classes=10, embedding_dim=128, num_heads=4)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-4)
    history = train(model, trainloader, criterion, optimizer, num_epochs=2)
    samples = generate_images(model, num_samples=10)

    assert len(history) == 12 and history.loss[-1] < history.loss[0]
    # What old code did with the samples still works: index, loop, count.
    assert len(samples) == 10 and samples[0].shape == (3, 32, 32)
    assert all(sample.min() >= 0 and sample.max() <= 1 for sample in samples)
    show_images(samples, cols=5)


def test_the_parts_by_their_old_names_and_positions() -> None:
    x = torch.randn(2, 16, 128)
    assert PositionalEncoding(128)(x).shape == x.shape
    assert TransformerBlock(128, 4)(x).shape == x.shape
    images = torch.randn(2, 3, 32, 32)
    assert UNetWithAttention(3, 3, 128, 4)(images).shape == images.shape


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_five_lines_on_a_gpu(trainloader: DataLoader) -> None:
    model = DiffusionTransformerUNet(
        image_size=32, num_classes=10, embedding_dim=128, num_heads=4
    ).cuda()
    optimizer = optim.Adam(model.parameters(), lr=1e-4)
    train(model, trainloader, nn.MSELoss(), optimizer, num_epochs=1)
    assert generate_images(model, num_samples=10).device.type == "cpu"
