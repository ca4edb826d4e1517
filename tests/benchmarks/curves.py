"""How pictures get better in a run: `aetherfusion train`, watched.

    python tests/benchmarks/curves.py class_time --minutes 25   # trains, or goes on
    python tests/benchmarks/curves.py class_time --score        # shows the copies to the judge
    python tests/benchmarks/curves.py first --epochs 24 --decay 0.3
    python tests/benchmarks/curves.py first --score --every 4
    python tests/benchmarks/curves.py second --epochs 14 --decay 0.3 --depth 8 --lr 2e-3 \
        --start-from runs/first/model.safetensors
    python tests/benchmarks/curves.py second --score --every 2 --after runs/first
    python tests/benchmarks/curves.py shipped --epochs 13 --decay 0.3 --depth 8 --lr 2e-3 \
        --seed 1 --start-from runs/second/model.safetensors
    python tests/benchmarks/curves.py shipped --score --every 2 --after runs/first runs/second

The same as `aetherfusion train` with these options, which keeps a copy of the averaged model after
every epoch in runs/NAME. Scoring shows pictures of the copies to the judge, guided all the way, and
twice as many of the last model at the default settings, and writes NAME.json in
aetherfusion/lessons/results/, which lesson 05 draws. Thirty pictures, guided all the way too, and a
figure stay beside the copies, as pictures.png and curves.png: lesson 05 and the model card show
some of them. A run that went on from others' models has their curves before its own.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aetherfusion import generate_images, load_model, save_images, save_model
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import EPOCHS, OPTIMIZER, TRAINING
from aetherfusion.cli.recipe import Recipe, follow
from aetherfusion.utils.history import Step

RESULTS = Path(__file__).parents[2] / "aetherfusion" / "lessons" / "results"
SCORES = ("frechet", "frechet_soft", "precision", "recall", "class_accuracy")
ALWAYS = {"guidance_scale": 2.5, "guidance_interval": (0.0, 1.0)}  # a young model needs it
STEPS_PER_EPOCH = 50_000 // 64
POINTS = 150  # of the loss that are kept


def train(args: argparse.Namespace) -> None:
    """Follows the recipe of the command line and keeps copies."""

    def keep(step: Step) -> None:
        if step.step % STEPS_PER_EPOCH == 0:
            path = args.folder / f"copy-{step.step:06d}.safetensors"
            save_model(step.averaged_model, path, dtype=torch.float16)

    recipe = Recipe(
        data="cifar10",
        num_images=None,
        epochs=args.epochs,
        batch_size=64,
        accumulate=1,
        lr=args.lr,
        seed=args.seed,
        embedding_dim=128,
        num_heads=4,
        depth=args.depth,
        decay=args.decay,
        precision=None,
        start_from=args.start_from,
    )
    output = args.folder / "model.safetensors"
    follow(recipe, output, args.folder, args.minutes, callbacks=[keep])


def score(args: argparse.Namespace) -> None:
    """Pictures of the copies, seen by the judge, beside the loss; more of the last model."""
    from aetherfusion.data import load_cifar10
    from aetherfusion.evaluation import Evaluation, RealPictures, evaluate

    real = RealPictures(load_cifar10(train=False), load_cifar10())

    def look(path: Path, number: int, *, quickly: bool = True, **options: Any) -> Evaluation:
        with torch.autocast("cpu", torch.bfloat16, enabled=quickly):
            images = generate_images(load_model(path), number, **options)
        return evaluate(images, torch.arange(number) % 10, real)

    copies = sorted(args.folder.glob("copy-*.safetensors"))
    for number, path in enumerate(copies, start=1):
        if number % args.every and number < len(copies):
            continue
        kept = path.with_suffix(".json")
        # A copy is scored once, also while the run goes on; unless it was trained again.
        if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
            found = look(path, args.num_samples, **ALWAYS)
            kept.write_text(json.dumps(found.as_dict()))
    last = args.folder / "model.safetensors"
    if not last.exists():
        return
    result = joined([curve(folder) for folder in (*args.after, args.folder)])
    result["num_samples"] = args.num_samples
    result["measured"] = look(last, 2 * args.num_samples, quickly=False).as_dict()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    pictures = generate_images(load_model(last), 30, **ALWAYS)  # type: ignore[arg-type]
    save_images(pictures, args.folder / "pictures.png", cols=10, zoom=1)
    draw(result, args.folder / "curves.png")


def curve(folder: Path) -> dict[str, Any]:
    """What a finished run left in its folder: what it cost, the loss, the scores of its copies."""
    notes = read_notes(folder / "model.safetensors")
    copies: list[dict[str, Any]] = []
    for kept in sorted(folder.glob("copy-*.json")):
        seen, found = 64 * int(kept.stem.partition("-")[2]), json.loads(kept.read_text())
        copies.append({"images_seen": seen} | {key: round(found[key], 4) for key in SCORES})
    loss = json.loads((folder / "history.json").read_text())["loss"]
    edges = [round(i * len(loss) / POINTS) for i in range(POINTS + 1)]
    return {
        "command": notes["command"],
        "images_seen": notes["images_seen"],
        "cpu_seconds": round(notes["cpu_seconds"]),
        "loss": [
            [64 * b, round(sum(loss[a:b]) / (b - a), 4)] for a, b in itertools.pairwise(edges)
        ],
        "copies": copies,
    }


def joined(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one, each of which went on from the model of the one before."""
    starts = list(itertools.accumulate((run["images_seen"] for run in curves), initial=0))
    costs = list(itertools.accumulate(run["cpu_seconds"] for run in curves))
    runs = list(zip(starts, curves, strict=False))
    return {
        "command": "; ".join(run["command"] for run in curves),
        "images_seen": starts[-1],
        "cpu_seconds": costs[-1],
        # (images seen, CPU-seconds) where one run ends and the next one goes on.
        "joints": list(zip(starts[1:-1], costs[:-1], strict=True)),
        "loss": [[start + seen, loss] for start, run in runs for seen, loss in run["loss"]],
        "copies": [
            copy | {"images_seen": start + copy["images_seen"]}
            for start, run in runs
            for copy in run["copies"]
        ],
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """Loss, distances, class accuracy and recall against images seen and, above, CPU-hours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.3), layout="constrained")
    axes = figure.subplots(1, 3)
    axes[0].plot(*zip(*result["loss"], strict=True), color="#4477aa", linewidth=0.8)
    axes[0].set(ylabel="loss", ylim=(0.13, 0.2))
    seen = [copy["images_seen"] for copy in result["copies"]]
    for ax, names, top in (
        (axes[1], {"frechet": "Fréchet distance", "frechet_soft": "softened"}, None),
        (axes[2], {"class_accuracy": "class accuracy", "recall": "recall"}, 1.0),
    ):
        for (name, words), colour in zip(names.items(), ("#4477aa", "#ee6677"), strict=True):
            scores = [copy[name] for copy in result["copies"]]
            ax.plot(seen, scores, "o-", color=colour, label=words)
        ax.set_ylim(0, top)
        ax.legend(fontsize=9)
    # An image costs the same within a run, and more in the next one if its model is larger.
    ends = [(0, 0), *result["joints"], (result["images_seen"], result["cpu_seconds"])]
    images, seconds = (np.array(column, dtype=float) for column in zip(*ends, strict=True))
    # Beyond both ends the lines go on, as an axis asks for more than there is.
    images = np.array([-images[-1], *images, 2 * images[-1]])
    seconds = np.array([-seconds[-1], *seconds, 2 * seconds[-1]])
    for ax in axes:
        for joint, _ in result["joints"]:  # where one run went on from another
            ax.axvline(joint, color="grey", linewidth=0.8, linestyle=":")
        ax.set_xlabel("images seen")
        ax.xaxis.set_major_formatter(lambda n, _: f"{n / 1e6:g} M")
        above = ax.secondary_xaxis(
            "top",
            functions=(
                lambda n: np.interp(n, images, seconds / 3600),
                lambda hours: np.interp(hours, seconds / 3600, images),
            ),
        )
        above.set_xlabel("CPU-hours")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Trains or scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--minutes", type=int, help="instead: as many epochs as fit into them")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--start-from", help="a model file whose weights to go on from")
    parser.add_argument(
        "--after",
        type=Path,
        nargs="*",
        default=[],
        help="with --score: the folders of the runs that this one went on from, in order",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=OPTIMIZER["lr"])
    parser.add_argument("--decay", type=float, default=TRAINING["decay"])
    parser.add_argument("--folder", type=Path, help="default: runs/NAME")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--every", type=int, default=1, help="score every so many copies")
    args = parser.parse_args()
    args.folder = args.folder or Path("runs") / args.name
    (score if args.score else train)(args)


if __name__ == "__main__":
    main()
