"""The judge: it knows CIFAR-10, it is small, and mirror images are the same to it."""

from __future__ import annotations

from pathlib import Path

import torch

from aetherfusion import load_cifar10
from aetherfusion.utils.judge import JUDGE_FILE, Judge, load_judge


def test_it_is_small() -> None:
    assert JUDGE_FILE.stat().st_size <= 4_000_000


def test_it_names_the_test_pictures(cifar10_root: Path) -> None:
    cifar10 = load_cifar10(cifar10_root, train=False)
    images, labels = cifar10.images[:1000], cifar10.labels[:1000]
    judge = load_judge()
    with torch.inference_mode():
        named = judge(images.float() / 255).argmax(1)
        again = judge.classify(judge.features(images[:100].float() / 255)).argmax(1)
    assert (named == labels).float().mean() >= 0.91  # 0.925 on all 10,000
    assert torch.equal(named[:100], again)


def test_mirror_images_have_the_same_class() -> None:
    judge, images = load_judge(), torch.rand(4, 3, 32, 32)
    assert torch.allclose(judge(images), judge(images.flip(3)), atol=1e-4)
    assert not torch.allclose(judge(images), judge(images.flip(2)), atol=1e-2)


def test_a_picture_is_judged_by_itself() -> None:
    judge, images = load_judge(), torch.rand(6, 3, 32, 32)
    alone = torch.cat([judge(image[None]) for image in images])
    assert torch.allclose(judge(images), alone, atol=1e-4)


def test_it_learns() -> None:
    torch.manual_seed(0)
    judge = Judge(num_classes=2, widths=(8, 8, 8)).train()
    images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 2
    images[labels == 1, 0] += 1
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-2)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(judge(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (judge.eval()(images).argmax(1) == labels).all()
