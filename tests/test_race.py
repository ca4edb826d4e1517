"""The race of tests/benchmarks/race.py: every racer finishes in time, and there is a table."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aetherfusion import CIFAR10_CLASSES, ImageTensors

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import peers
import race
import racers
import scoring

SCORES = {"frechet": 1.0, "frechet_soft": 2.0, "recall": 0.5, "class_accuracy": 0.25}


@pytest.fixture
def data() -> ImageTensors:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageTensors(images, torch.arange(256) % 10, CIFAR10_CLASSES, flip=True)


def ran(
    name: str, data: ImageTensors, folder: Path, seconds: float, number: int = 10, **sizes: Any
) -> dict:
    race.run(name, data, cpu_seconds=seconds, num_samples=number, output=folder, **sizes)
    with np.load(folder / f"{name}.npz") as kept:
        return {key: kept[key] for key in kept.files}


def small_batches(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (race, racers, peers):
        monkeypatch.setattr(module, "BATCH", number)


def check(kept: dict, seconds: float) -> None:
    """That the file says everything, and that the time was kept to within two steps."""
    number = len(kept["images"])
    assert kept["images"].shape == (number, 3, 32, 32) and kept["images"].dtype == np.uint8
    assert kept["labels"].tolist() == [i % 10 for i in range(number)]
    steps = len(kept["losses"])
    assert kept["images_seen"] == race.BATCH * steps and np.isfinite(kept["losses"]).all()
    spent = float(kept["cpu_seconds"])
    assert spent <= seconds + 2 * spent / steps, (spent, steps)
    assert kept["images_per_second"] == pytest.approx(race.BATCH * steps / spent)
    assert kept["gflop"] > 0 and kept["parameters"] > 0 and kept["sampling_seconds"] > 0


def test_ours_and_the_one_shot_run_and_make_a_table(
    data: ImageTensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(8, monkeypatch)  # the trial is then a small part of the budget
    ours = ran("aetherfusion", data, tmp_path, 1.0, embedding_dim=16, depth=1)
    check(ours, 1.0)
    # The number of steps was chosen well: little of the budget is left.
    assert float(ours["cpu_seconds"]) > 0.6
    assert ours["evaluations"] == 14 + 9  # nine steps are guided: with the label, and without
    one_shot = ran("one-shot", data, tmp_path, 1.0, embedding_dim=16)
    check(one_shot, 1.0)
    assert one_shot["evaluations"] == 1
    assert one_shot["losses"][-3:].mean() < one_shot["losses"][:3].mean()

    # The metrics have tests of their own.
    monkeypatch.setattr(scoring, "scores", lambda images, labels: dict(SCORES))
    monkeypatch.setattr(scoring, "real_images", lambda n: (data.images[:n], data.labels[:n]))
    rows = scoring.score(tmp_path)
    assert {row["name"] for row in rows[:2]} == {"aetherfusion", "one-shot"}
    assert rows[2]["name"] == scoring.REAL
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert lines[2].count("| 25% |") == lines[4].count("| 25% |") == 1
    assert (tmp_path / "table.json").exists() and (tmp_path / "race.png").exists()


@pytest.mark.parametrize(
    ("name", "packages", "evaluations", "sizes"),
    [
        ("diffusers", ["diffusers"], 20, {"layers_per_block": 1}),
        ("denoising-diffusion-pytorch", ["denoising_diffusion_pytorch"], 40, {}),
        ("smalldiffusion", ["smalldiffusion", "torch_ema"], 20, {}),
    ],
)
def test_peers_run(
    name: str,
    packages: list[str],
    evaluations: int,
    sizes: dict[str, int],
    data: ImageTensors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"{package} comes with the extra 'race'")
    small_batches(4, monkeypatch)
    kept = ran(name, data, tmp_path, 0.5, number=1, **sizes)
    check(kept, 0.5)
    assert kept["evaluations"] == evaluations
