"""How images get better during a run of `aetherfusion train`.

    python tests/benchmarks/curves.py class_time --minutes 25   # trains, or resumes
    python tests/benchmarks/curves.py class_time --score        # evaluates the copies
    python tests/benchmarks/curves.py first --epochs 24 --decay 0.3
    python tests/benchmarks/curves.py first --score --every 4
    python tests/benchmarks/curves.py second --epochs 14 --decay 0.3 --depth 8 --lr 2e-3 \
        --start-from runs/first/model.safetensors
    python tests/benchmarks/curves.py second --score --every 2 --after runs/first
    python tests/benchmarks/curves.py shipped --epochs 13 --decay 0.3 --depth 8 --lr 2e-3 \
        --seed 1 --start-from runs/second/model.safetensors
    python tests/benchmarks/curves.py shipped --score --every 2 --after runs/first runs/second

This is `aetherfusion train` with these options, and a copy of the averaged model in runs/NAME after
every epoch. Scoring evaluates images of the copies, guided at all times, and twice as many of the
last model at the default settings, and writes NAME.json in aetherfusion/lessons/results/, which
lesson 05 draws. Thirty images, guided at all times too, and a figure go next to the copies, as
pictures.png and curves.png: lesson 05 and the model card show some of them. The curves of a run
that started from the models of other runs begin with theirs.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from aetherfusion import generate_images, load_model, save_images, save_model
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import recipe
from aetherfusion.utils.history import Step
from aetherfusion.utils.runs import read_state

RESULTS = Path(__file__).parents[2] / "aetherfusion" / "lessons" / "results"
SCORES = ("frechet", "frechet_soft", "precision", "recall", "class_accuracy")
ALWAYS = {"guidance_scale": 2.5, "guidance_interval": (0.0, 1.0)}  # a young model needs it
BATCH = 64
STEPS_PER_EPOCH = 50_000 // BATCH
POINTS = 150  # of the loss that are kept


def train(args: argparse.Namespace) -> None:
    """The training of the command line, with one more callback, which saves the copies."""
    copies = sorted(args.folder.glob("copy-*.safetensors"))
    before = read_notes(copies[-1])["cpu_seconds"] if copies else 0.0  # of a run that is resumed
    library_train = recipe.training.train

    def keep(step: Step) -> None:
        if step.step % STEPS_PER_EPOCH == 0 or step.step == step.total_steps:
            path = args.folder / f"copy-{step.step:06d}.safetensors"
            notes = {"cpu_seconds": before + time.process_time()}
            save_model(step.averaged_model, path, dtype=torch.float16, notes=notes)

    def watched(*model_and_data: Any, callbacks: Any, **options: Any) -> Any:
        return library_train(*model_and_data, callbacks=[*callbacks, keep], **options)

    with mock.patch.object(recipe.training, "train", watched):
        recipe.train(
            epochs=args.epochs,
            minutes=args.minutes,
            batch_size=BATCH,
            lr=args.lr,
            seed=args.seed,
            depth=args.depth,
            decay=args.decay,
            start_from=args.start_from,
            output=args.folder / "model.safetensors",
            checkpoint_dir=args.folder,
        )


def score(args: argparse.Namespace) -> None:
    """Evaluates images of the copies, and more of the last model."""
    from aetherfusion.data import load_cifar10
    from aetherfusion.evaluation import Evaluation, RealPictures, evaluate

    real = RealPictures(load_cifar10(train=False), load_cifar10())

    def scores(path: Path, number: int, *, bfloat16: bool = True, **options: Any) -> Evaluation:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            images = generate_images(load_model(path), number, **options)
        return evaluate(images, torch.arange(number) % 10, real)

    copies = sorted(args.folder.glob("copy-*.safetensors"))
    for number, path in enumerate(copies, start=1):
        if number % args.every and number < len(copies):
            continue
        kept = path.with_suffix(".json")
        # A copy is scored once, also while the run is going on; unless it was trained again.
        if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
            found = scores(path, args.num_samples, **ALWAYS)
            kept.write_text(json.dumps(found.as_dict()))
    last = args.folder / "model.safetensors"
    if not last.exists():
        return
    result = joined([curve(folder) for folder in (*args.after, args.folder)])
    result["num_samples"] = args.num_samples
    result["measured"] = scores(last, 2 * args.num_samples, bfloat16=False).as_dict()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    pictures = generate_images(load_model(last), 30, **ALWAYS)  # type: ignore[arg-type]
    save_images(pictures, args.folder / "pictures.png", cols=10, zoom=1)
    draw(result, args.folder / "curves.png")


def curve(folder: Path) -> dict[str, Any]:
    """What a finished run left in its folder: its cost, the loss, the scores of its copies."""
    notes = read_notes(folder / "model.safetensors")
    last = read_notes(max(folder.glob("copy-*.safetensors")))
    copies: list[dict[str, Any]] = []
    for kept in sorted(folder.glob("copy-*.json")):
        seen, found = BATCH * int(kept.stem.partition("-")[2]), json.loads(kept.read_text())
        copies.append({"images_seen": seen} | {key: round(found[key], 4) for key in SCORES})
    state = read_state(folder)
    if state is None:
        raise SystemExit(f"there is no training state in {folder}; train the run first")
    loss = state["history"]["loss"]
    points = min(POINTS, len(loss))
    edges = [round(i * len(loss) / points) for i in range(points + 1)]
    return {
        "command": notes["command"],
        "images_seen": notes["images_seen"],
        "cpu_seconds": round(last["cpu_seconds"]),
        "loss": [
            [BATCH * b, round(sum(loss[a:b]) / (b - a), 4)] for a, b in itertools.pairwise(edges)
        ],
        "copies": copies,
    }


def joined(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one, each of which started from the model of the one before."""
    starts = list(itertools.accumulate((run["images_seen"] for run in curves), initial=0))
    costs = list(itertools.accumulate(run["cpu_seconds"] for run in curves))
    runs = list(zip(starts, curves, strict=False))
    return {
        "command": "; ".join(run["command"] for run in curves),
        "images_seen": starts[-1],
        "cpu_seconds": costs[-1],
        # (images seen, CPU-seconds) where one run ends and the next one starts.
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
    # The lines continue beyond both ends, because an axis asks for more than there is.
    images = np.array([-images[-1], *images, 2 * images[-1]])
    seconds = np.array([-seconds[-1], *seconds, 2 * seconds[-1]])
    for ax in axes:
        for joint, _ in result["joints"]:  # where one run started from another's model
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
    parser.add_argument("--epochs", type=int, help="default: that of the command line")
    parser.add_argument("--minutes", type=float, help="instead: for this long")
    parser.add_argument("--depth", type=int)
    parser.add_argument("--start-from", type=Path, help="a model file to start from")
    parser.add_argument(
        "--after",
        type=Path,
        nargs="*",
        default=[],
        help="with --score: the folders of the runs before this one, in order",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--decay", type=float)
    parser.add_argument("--folder", type=Path, help="default: runs/NAME")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--every", type=int, default=1, help="score every so many copies")
    args = parser.parse_args()
    args.folder = args.folder or Path("runs") / args.name
    (score if args.score else train)(args)


if __name__ == "__main__":
    main()
