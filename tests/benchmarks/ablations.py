"""What each part of the recipe buys: one change at a time, each trained for the same CPU time.

    python tests/benchmarks/ablations.py --cpu-seconds 120 --jobs 2    # trains what is missing
    python tests/benchmarks/ablations.py --cpu-seconds 120 --score     # the table and the figure

    python tests/benchmarks/ablations.py --cpu-seconds 775 --num-samples 1000 \
        --only "Muon for the matrices" "decay from the start: the recipe" "2 blocks" "8 blocks" \
        "AdamW alone" "uniform times" "cosine path" "five lines: Adam at 1e-4" "batch 32" \
        "decay over the last 60 %" "decay from the start, at 6e-3" "not folded" \
        "attention at 16x16 too" "no positions" "queries and keys not normalised" \
        "adaLN not zero at first" "no label dropout, no guidance" "the usual average (0.999)" \
        "plain" "AdamW at 2e-3, with warm-up and decay" "an average that grows with the run" \
        "the straight path" "logit-normal times" "pixels folded 2x2" "attention at 8x8 only" \
        "adaLN-zero" "batch 128" "learnt positions" "wider: embedding_dim 192" \
        "labels begin small: 0.02"
    python tests/benchmarks/ablations.py --cpu-seconds 775 --num-samples 1000 --seed 1 \
        --only "Muon for the matrices" "decay from the start: the recipe" "AdamW alone" \
        "uniform times" "adaLN not zero at first" "queries and keys not normalised" "2 blocks" \
        "decay over the last 60 %"
    python tests/benchmarks/ablations.py --cpu-seconds 775 --score --name ablations_long

Training leaves samples under runs/ablations/. Scoring evaluates those of one budget and writes
aetherfusion/lessons/results/NAME.json and, if the plain form is among them, docs/NAME.png. A run
whose samples are there is not repeated. See variants.py for what is switched.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parent.parent.parent
SAMPLES = Path("runs/ablations")
BASE = "Muon for the matrices"  # of the branches
RESULTS = ROOT / "aetherfusion" / "lessons" / "results"


def file_of(name: str, cpu_seconds: float, seed: int) -> Path:
    return SAMPLES / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{cpu_seconds:g}-{seed}.npz"


def run(name: str, cpu_seconds: float, seed: int, num_samples: int) -> None:
    """Trains one setup and saves images of the model."""
    from budget import train_for
    from variants import BRANCHES, ladder

    from aetherfusion import generate_images, save_model
    from aetherfusion.data import load_cifar10, to_uint8
    from aetherfusion.utils.hardware import fast_dtype, kept_memory

    setup = {**ladder(), **BRANCHES}[name]
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = setup.build()
    data, batch_size, options = load_cifar10(), setup.batch_size, setup.options
    with kept_memory():  # as in `train`
        spent, steps = train_for(
            cpu_seconds, model, setup.optimizer, data, batch_size, seed=seed, **options
        )
    path = file_of(name, cpu_seconds, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path.with_suffix(".safetensors"))
    dtype = fast_dtype("cpu")
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        samples = generate_images(
            model,
            num_samples,
            steps=10,
            tail=0,  # even times, as when the first of these runs were made
            guidance_scale=setup.guidance_scale,
            guidance_interval=(0.0, 1.0),
        )
    record = {
        "name": name,
        "seed": seed,
        "cpu_seconds": round(spent, 1),
        "images_seen": batch_size * len(steps),
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": sum(step.loss for step in steps[-100:]) / min(100, len(steps)),
    }
    np.savez_compressed(path, images=to_uint8(samples).numpy(), record=json.dumps(record))
    print(json.dumps(record), flush=True)


def train_all(wanted: list[tuple[str, int]], args: argparse.Namespace) -> None:
    """A subprocess for each run that is missing, `args.jobs` at a time."""
    running: list[subprocess.Popen[bytes]] = []
    for name, seed in wanted:
        if file_of(name, args.cpu_seconds, seed).exists():
            continue
        while len(running) >= args.jobs:
            running[0].wait()
            running = [process for process in running if process.poll() is None]
        command = [sys.executable, __file__, "--run", name, "--seed", str(seed)]
        command += ["--cpu-seconds", str(args.cpu_seconds), "--num-samples", str(args.num_samples)]
        running.append(subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}))
    for process in running:
        process.wait()


def score(cpu_seconds: float, results_name: str) -> None:
    """Evaluates all samples; writes the table."""
    from variants import BRANCHES, ladder

    from aetherfusion.data import load_cifar10
    from aetherfusion.evaluation import RealPictures, evaluate

    real = RealPictures(load_cifar10(train=False), load_cifar10())
    rows = []
    for path in sorted(SAMPLES.glob(f"*-{cpu_seconds:g}-*.npz")):
        with np.load(path) as kept:
            images, record = torch.from_numpy(kept["images"]), json.loads(str(kept["record"]))
        scores = evaluate(images.float() / 255, torch.arange(len(images)) % 10, real)
        record |= {
            "num_samples": len(images),
            "frechet": round(scores.frechet, 1),
            "frechet_soft": round(scores.frechet_soft, 1),
            "recall": round(scores.recall, 3),
            "class_accuracy": round(scores.class_accuracy, 3),
        }
        rows.append(record)
    # A rung may be the same setup as a branch, under another name: then one run is both.
    setups = {**ladder(), **BRANCHES}
    for rung in ladder():
        if all(row["name"] != rung for row in rows):
            same = [row for row in rows if setups[row["name"]] == setups[rung]]
            rows += [{**row, "name": rung, "same_run_as": row["name"]} for row in same]
    order = list(setups)
    rows.sort(key=lambda row: (order.index(row["name"]), row["seed"]))
    for row in rows:
        row["ladder"] = row["name"] in ladder()
    table = json.dumps({"budget": cpu_seconds, "runs": rows}, indent=1)
    (RESULTS / f"{results_name}.json").write_text(table + "\n")
    print("| switch | seed | images seen | loss | FD | FD-soft | recall | class accuracy |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['name']} | {row['seed']} | {row['images_seen']:,} | {row['loss']:.4f} | "
            f"{row['frechet']} | {row['frechet_soft']} | {row['recall']} | "
            f"{row['class_accuracy']:.0%} |"
        )
    if any(row["name"] == "plain" for row in rows):
        draw(rows, cpu_seconds, ROOT / "docs" / f"{results_name}.png")


def draw(rows: list[dict[str, Any]], cpu_seconds: float, path: Path) -> None:
    """Two columns of bars: the way to the recipe, and one change at a time of the rung before."""
    from matplotlib.figure import Figure

    base = [row["frechet_soft"] for row in rows if row["name"] == BASE]
    figure = Figure(figsize=(10, 6), layout="constrained")
    for ax, ladder, title in zip(
        figure.subplots(1, 2),
        (True, False),
        ("From the plain form to the recipe", "One change of the red one at a time"),
        strict=True,
    ):
        some = [row for row in rows if row["ladder"] == ladder and row["seed"] == 0]
        names = [row["name"].replace(": the recipe", "") for row in some]
        ax.barh(names, [row["frechet_soft"] for row in some], color="#4477aa")
        other = {row["name"]: row["frechet_soft"] for row in rows if row["seed"] == 1}
        for i, row in enumerate(some):
            ax.plot(other.get(row["name"], float("nan")), i, "ko", markersize=4)
            end = max(row["frechet_soft"], other.get(row["name"], 0.0))
            words, offset = f"{row['class_accuracy']:.0%}", {"textcoords": "offset points"}
            ax.annotate(words, (end, i), (6, 0), va="center", fontsize=8, **offset)
        if base:
            ax.axvspan(min(base), max(base), color="#ee6677", alpha=0.5)
        ax.invert_yaxis()
        ax.margins(x=0.15)
        ax.tick_params(axis="y", labelsize=8)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("softened Fréchet distance", fontsize=9)
    figure.suptitle(
        f"{cpu_seconds:g} CPU-seconds of training each; class accuracy next to the bar, a dot for "
        f'another seed, red for "{BASE}"',
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    from variants import BRANCHES, ladder

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cpu-seconds", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--num-samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of setups")
    parser.add_argument("--run", help="train this setup here and now")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--name", default="ablations", help="of the results")
    args = parser.parse_args()
    if args.run:
        run(args.run, args.cpu_seconds, args.seed, args.num_samples)
    elif args.score:
        score(args.cpu_seconds, args.name)
    else:
        names = args.only or [*ladder(), *BRANCHES]
        train_all([(name, args.seed) for name in names], args)


if __name__ == "__main__":
    main()
