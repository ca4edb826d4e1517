"""shapes10: drawn from a seed, balanced, quick, and with classes that can be told apart."""

import time

import pytest
import torch
from torch import Tensor, nn

from aetherfusion.data import SHAPES10_CLASSES, load_shapes10, make_loader
from aetherfusion.utils.shapes import draw_shapes10


def ink(images: Tensor) -> Tensor:
    """Which pixels belong to the shape, (N, H, W) bool: it is bright on a dark background."""
    return images.amax(1) > 140


def test_same_seed_same_images_other_seed_others() -> None:
    images, labels = draw_shapes10(40, seed=3)
    again, labels_again = draw_shapes10(40, seed=3)
    assert torch.equal(images, again) and torch.equal(labels, labels_again)
    other, _ = draw_shapes10(40, seed=4)
    assert (images != other).flatten(1).any(1).all(), "an image does not depend on the seed"


def test_the_images_stay_the_same() -> None:
    """Measured results and stored outputs of lessons depend on them."""
    images, _ = draw_shapes10(20, seed=7)
    saved = [
        *([225, 215, 115], [128, 249, 178], [115, 215, 225], [32, 56, 3], [146, 255, 154]),
        *([124, 245, 185], [115, 213, 226], [16, 49, 9], [48, 0, 44], [13, 23, 69]),
    ]
    middle = images[10:, :, 16, 16].int()  # one pixel of each class
    assert (middle - torch.tensor(saved)).abs().max() <= 1  # another CPU may round differently

    columns = [15.0, 16.6, 14.9, 15.1, 14.9, 15.7, 14.4, 17.8, 15.6, 15.4]
    weight = images[10:].amax(1).sum(1).float()  # (10, 32)
    mean = (weight * torch.arange(32)).sum(1) / weight.sum(1)  # the centre of mass
    assert (mean - torch.tensor(columns)).abs().max() < 0.06


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draw_shapes10(20)
    assert torch.equal(torch.rand(3), expected)


def test_a_larger_set_begins_with_the_smaller() -> None:
    small, _ = draw_shapes10(25)
    large, _ = draw_shapes10(200)
    assert torch.equal(large[:25], small)


def test_balanced_and_in_turn() -> None:
    dataset = load_shapes10(1003)
    counts = torch.bincount(dataset.labels, minlength=10)
    assert counts.tolist() == [101, 101, 101, 100, 100, 100, 100, 100, 100, 100]
    assert dataset.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert dataset.class_names == SHAPES10_CLASSES and len(set(SHAPES10_CLASSES)) == 10


@pytest.mark.parametrize("number", [1, 7, 10, 11])
@pytest.mark.parametrize("size", [8, 31, 64])
def test_any_number_and_size(number: int, size: int) -> None:
    images, labels = draw_shapes10(number, image_size=size)
    assert images.shape == (number, 3, size, size) and images.dtype == torch.uint8
    assert labels.tolist() == [i % 10 for i in range(number)]


def test_quick_enough() -> None:
    start = time.perf_counter()
    load_shapes10(10_000)
    seconds = time.perf_counter() - start
    assert seconds < 10, f"10,000 images took {seconds:.1f} s"


def test_areas_match_the_closed_forms() -> None:
    """At 256 pixels, the counted area over the radius squared is the one of geometry."""
    size, number = 256, 100
    images, labels = draw_shapes10(number, image_size=size)
    scale = torch.rand(number, 9, generator=torch.Generator().manual_seed(0))[:, 2]
    radius = (0.68 + 0.12 * scale) * size / 2
    area = ink(images).sum((1, 2)) / radius**2
    expected = {
        "disc": torch.pi,
        "ring": torch.pi * (1.02**2 - 0.54**2),
        "square": (2 * 0.84) ** 2,
        "cross": 2 * (2 * 0.6) - 0.6**2,
        "triangle": 3**1.5 / 4 * 1.1**2,
        "star": 5 * 0.45 * torch.sin(torch.tensor(torch.pi / 5)).item(),
        "heart": (2 * 0.56) ** 2 + torch.pi * 0.56**2,
    }
    for name, value in expected.items():
        found = area[labels == SHAPES10_CLASSES.index(name)]
        error = (found / value - 1).abs().max().item()
        assert error < 0.02, f"{name}: the area is {found.mean():.3f}, expected {value:.3f}"
    for name in ("stripes", "checkerboard"):
        share = ink(images)[labels == SHAPES10_CLASSES.index(name)].float().mean((1, 2))
        assert (share - 0.5).abs().max() < 0.06, f"{name}: half of the image should be inside"


def test_figures_stay_inside_and_stand_out() -> None:
    images, labels = draw_shapes10(1000)
    figures = labels < SHAPES10_CLASSES.index("stripes")
    inside = ink(images)[figures]
    border = torch.cat([inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]], dim=1)
    assert not border.any(), "a shape touches the border"

    luminance = (images.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    for picture, mask in zip(luminance, ink(images), strict=True):
        assert picture[mask].mean() - picture[~mask].mean() > 50, "the shape does not stand out"


def test_both_hands_are_drawn() -> None:
    """Half of the moons open to the left, so flips make nothing that is not in the data."""
    images, labels = draw_shapes10(4000)
    moons = ink(images)[labels == SHAPES10_CLASSES.index("moon")].float()
    across = torch.arange(32.0)
    mean = (moons.sum(1) * across).sum(1) / moons.sum((1, 2))  # centre of mass
    spans = moons.amax(1)
    middle = ((spans * across).amax(1) + (32 - (spans * (32 - across)).amax(1))) / 2
    share = (mean < middle).float().mean().item()
    assert 0.4 < share < 0.6, f"{share:.0%} of the moons open to the right"


def test_classes_are_separable() -> None:
    """A small convolutional network classifies unseen images after some seconds of training."""
    torch.manual_seed(0)
    train, test = load_shapes10(3000, seed=0), load_shapes10(500, seed=1)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(5):
        for images, labels in make_loader(train, 64):
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        images, labels = test.batch(range(len(test)))
        accuracy = (network(images).argmax(1) == labels).float().mean().item()
        mirrored = (network(images.flip(-1)).argmax(1) == labels).float().mean().item()
    assert accuracy > 0.9, f"accuracy on unseen images is {accuracy:.1%}"
    assert mirrored > 0.9, f"accuracy on mirrored images is {mirrored:.1%}: a flip changes a class"
