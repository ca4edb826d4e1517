"""`aetherfusion evaluate`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import Said, an_empty_folder, refused  # noqa: F401
from command_line import weights as shapes_weights  # noqa: F401

import aetherfusion
from aetherfusion import (
    CIFAR10_CLASSES,
    DiffusionTransformerUNet,
    ImageTensors,
    data,
    load_model,
    save_model,
)
from aetherfusion.cli import main


@pytest.fixture
def weights(shapes_weights: str, tmp_path: Path) -> str:
    """The same tiny model, of the classes that the judge knows."""
    shapes = load_model(shapes_weights)
    model = DiffusionTransformerUNet(**shapes.config | {"class_names": list(CIFAR10_CLASSES)})
    model.load_state_dict(shapes.state_dict())
    return str(save_model(model, tmp_path / "cifar10.safetensors"))


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFAR-10 of twenty pictures of noise."""

    def load(train: bool = True) -> ImageTensors:
        generator = torch.Generator().manual_seed(int(train))
        images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return ImageTensors(images, torch.arange(20) % 10, CIFAR10_CLASSES)

    monkeypatch.setattr(data, "load_cifar10", load)


def test_it_says_and_writes_what_was_found(weights: str, capsys: Said) -> None:
    args = ["evaluate", "-n", "10", "--steps", "2", "--weights", weights]
    assert main([*args, "-o", "new/report.json"]) == 0
    said = capsys.readouterr().out
    assert "10 pictures" in said and "recall" in said and "copy ratio" in said
    report = json.loads(Path("new/report.json").read_text())
    assert f"{report['frechet']:.1f}" in said and sum(map(sum, report["confusion"])) == 10


def test_what_is_refused(weights: str, capsys: Said, tmp_path: Path) -> None:
    short = ["evaluate", "-n", "10", "--weights"]
    refused(["evaluate", "-n", "9"], capsys, "10")
    refused([*short, weights, "--guidance", "inf"], capsys, "guidance")
    refused([*short, "nowhere.safetensors"], capsys, "nowhere")
    other = DiffusionTransformerUNet(
        image_size=16, embedding_dim=8, num_heads=2, depth=1, num_classes=3
    )
    path = str(save_model(other, tmp_path / "other.safetensors"))
    refused([*short, path], capsys, "ten classes of CIFAR-10", "3 classes in 16x16")


def test_other_ten_classes_are_refused(shapes_weights: str, capsys: Said) -> None:
    args = ["evaluate", "-n", "10", "--weights", shapes_weights]
    refused(args, capsys, "ten classes of CIFAR-10", "disc, square")


def test_without_torchmetrics_it_says_what_to_install(
    weights: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "aetherfusion.evaluation")
    monkeypatch.delattr(aetherfusion, "evaluation")
    monkeypatch.setitem(sys.modules, "torchmetrics.classification", None)
    refused(["evaluate", "--weights", weights], capsys, 'pip install "aetherfusion[eval]"')
