"""The table and the picture of race.py, from the files that the racers left."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aetherfusion.data import load_cifar10

SHOWN = 40  # pictures of each racer, the first ones
REAL = "real training images"
COLUMNS = {
    "name": "racer",
    "parameters": "parameters",
    "gflop": "GFLOP, forward",
    "images_per_second": "images / CPU-s",
    "images_seen": "images seen",
    "frechet": "FD",
    "frechet_soft": "FD-soft",
    "recall": "recall",
    "class_accuracy": "class accuracy",
    "sampler": "sampler",
    "evaluations": "evaluations a picture",
    "sampling_ms": "CPU-ms a picture",
}


def score(folder: Path) -> list[dict[str, Any]]:
    """Writes table.md, table.json and race.png beside the racers' files; gives the rows."""
    rows, pictures = [], []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            images = torch.from_numpy(kept["images"])
            labels = torch.from_numpy(kept["labels"])
            row = {key: kept[key].item() for key in kept.files if kept[key].ndim == 0}
            row["loss"] = float(kept["losses"][-100:].mean())
        row["num_samples"] = len(images)
        row["sampling_ms"] = 1000 * row["sampling_seconds"] / len(images)
        rows.append(row | scores(images, labels))
        pictures.append(images[:SHOWN])
    if not rows:
        raise SystemExit(f"no racer has left a file in {folder}; run the race first")
    order = sorted(range(len(rows)), key=lambda i: rows[i]["frechet"])
    rows, pictures = [rows[i] for i in order], [pictures[i] for i in order]
    images, labels = real_images(max(row["num_samples"] for row in rows))
    rows.append({"name": REAL, "num_samples": len(images)} | scores(images, labels))
    pictures.append(images[:SHOWN])
    table = markdown(rows)
    (folder / "table.md").write_text(table)
    (folder / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, pictures, folder / "race.png")
    print(table)
    return rows


@functools.cache
def real_pictures() -> Any:
    """What all of them are compared with, looked at once."""
    from aetherfusion.evaluation import RealPictures

    return RealPictures(load_cifar10(train=False, download=False), load_cifar10(download=False))


def scores(images: Tensor, labels: Tensor) -> dict[str, float]:
    """How good these pictures, (N, 3, 32, 32) uint8, are as pictures of these labels."""
    from aetherfusion.evaluation import evaluate

    found = evaluate(images.float() / 255, labels, real_pictures())
    names = ("frechet", "frechet_soft", "recall", "class_accuracy")
    return {name: float(getattr(found, name)) for name in names}


def real_images(number: int) -> tuple[Tensor, Tensor]:
    """Training images of the classes in turn, and their labels: what a perfect model scores."""
    data = load_cifar10(download=False)
    places = [torch.nonzero(data.labels == label).flatten() for label in range(10)]
    index = torch.stack([places[i % 10][i // 10] for i in range(number)])
    return data.images[index], data.labels[index]


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table, what everybody got, and how each was set up."""
    lines = [
        "| " + " | ".join(COLUMNS.values()) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cell(row, key) for key in COLUMNS) + " |" for row in rows),
    ]
    conditions = {
        f"{row['budget']:g} CPU-seconds of training on {row['threads']} thread"
        f"{'s' if row['threads'] > 1 else ''}, {row['num_samples']:,} pictures"
        for row in rows
        if "budget" in row
    }
    setups = [f"- {row['name']}: {row['setup']}." for row in rows if "setup" in row]
    return "\n".join([*lines, "", f"{'; '.join(sorted(conditions))}.", "", *setups, ""])


def cell(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if key == "class_accuracy":
        return f"{value:.0%}"
    digits = {"gflop": 3, "recall": 3, "images_per_second": 1, "frechet": 1, "frechet_soft": 1}
    return value if isinstance(value, str) else f"{value:,.{digits.get(key, 0)}f}"


def draw(rows: list[dict[str, Any]], pictures: list[Tensor], path: Path) -> None:
    """A block for each racer, best first: the classes in turn, not picked."""
    from matplotlib.figure import Figure
    from torchvision.utils import make_grid

    blocks = [make_grid(images, nrow=20, padding=1, pad_value=255) for images in pictures]
    height = sum(0.5 * block.shape[1] / 33 + 0.35 for block in blocks)
    figure = Figure(figsize=(10, height), layout="constrained", dpi=150)
    axes = figure.subplots(len(blocks), 1, squeeze=False)[:, 0]
    for row, block, ax in zip(rows, blocks, axes, strict=True):
        ax.imshow(block.permute(1, 2, 0).numpy(), interpolation="nearest")
        seen = f", {row['images_seen']:,} images seen" if "images_seen" in row else ""
        ax.set_title(f"{row['name']}{seen}, FD {row['frechet']:.0f}", fontsize=9, loc="left")
        ax.axis("off")
    figure.savefig(path)
