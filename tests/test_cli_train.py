"""`aetherfusion train`: what it writes, how it is stopped and continued, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from command_line import (  # noqa: F401
    PATIENCE,
    TRAIN,
    TWO_STEPS,
    Said,
    an_empty_folder,
    no_file_above,
    refused,
    run,
)
from PIL import Image

import aetherfusion
from aetherfusion import (
    SHAPES10_CLASSES,
    DiffusionTransformerUNet,
    generate_images,
    load_model,
    load_shapes10,
    make_loader,
    recommended_optimizer,
    save_images,
    train,
)
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import main
from aetherfusion.cli.doctor import training_speed


def same_weights(first: str, second: str) -> bool:
    ours, theirs = load_model(first).state_dict(), load_model(second).state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_train_then_generate(capsys: Said) -> None:
    assert main([*TWO_STEPS, "--preview-every", "2", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "step 2 of 2" in said and "Resuming" not in said and "finished" not in said
    folder = Path("runs/shapes10")
    left = {"training_state.pt", "run.json", "loss.png", "preview-000002.png"}
    assert left <= set(os.listdir(folder)) and not list(Path().rglob("*partial*"))

    notes = read_notes("model.safetensors")
    assert notes["images_seen"] == 40 and f"at the end {notes['loss']:.4f}" in said
    assert notes["aetherfusion"] == aetherfusion.__version__ and notes["torch"] == torch.__version__
    assert str(Path.cwd()) not in json.dumps(notes)

    # The command it suggests works, and the preview shows the same, averaged model.
    advised = re.search(r"^ +aetherfusion (generate .*)$", said, re.MULTILINE)
    assert advised is not None and main(advised[1].split()) == 0 and os.path.exists("disc.png")
    save_images(generate_images(load_model("model.safetensors")), "expected.png")
    preview = Image.open(folder / "preview-000002.png")
    assert preview.tobytes() == Image.open("expected.png").tobytes()


def test_options_reach_the_library() -> None:
    """The same run by hand, with every option that changes the outcome."""
    args = ["--lr", "0.002", "--accumulate", "2", "--decay", "0.5", "--seed", "5"]
    assert main([*TRAIN, "--epochs", "3", *args, "--precision", "no"]) == 0
    torch.manual_seed(5)
    model = DiffusionTransformerUNet(
        embedding_dim=8, num_heads=2, depth=1, class_names=SHAPES10_CLASSES
    )
    optimizer, loader = recommended_optimizer(model, 0.002), make_loader(load_shapes10(40), 20)
    options = {"accumulate": 2, "decay": 0.5, "seed": 5, "precision": "no", "progress": False}
    train(model, loader, torch.nn.MSELoss(), optimizer, 3, **options)
    found = load_model("model.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(found[name], value.cpu()), name


def test_the_noted_command_trains_the_same_model() -> None:
    assert main([*TWO_STEPS, "--lr", "0.001", "--accumulate", "2", "-o", "a.safetensors"]) == 0
    again = read_notes("a.safetensors")["command"].split()[1:]
    assert main([*again, "-o", "b.safetensors", "--checkpoint-dir", "elsewhere"]) == 0
    assert same_weights("a.safetensors", "b.safetensors")


def test_training_goes_on_from_a_model_with_fewer_blocks(capsys: Said) -> None:
    assert main([*TWO_STEPS, "-o", "shallow.safetensors"]) == 0
    deeper = [
        *TWO_STEPS,
        "--depth",
        "3",
        "--start-from",
        str(Path("shallow.safetensors").resolve()),
    ]
    assert main([*deeper, "--lr", "0", "--checkpoint-dir", "deep", "-o", "deep.safetensors"]) == 0
    shallow, deep = load_model("shallow.safetensors"), load_model("deep.safetensors")
    assert len(deep.unet.blocks) == 3 > len(shallow.unet.blocks)
    inputs = torch.randn(4, 3, 32, 32), torch.rand(4), torch.arange(4)
    with torch.no_grad():
        before, after = shallow(*inputs), deep(*inputs)
    assert before.abs().max() > 0 and torch.allclose(before, after, atol=1e-5)
    notes = read_notes("deep.safetensors")
    assert notes["started_from"] == read_notes("shallow.safetensors")
    assert str(Path.cwd()) not in json.dumps(notes)
    capsys.readouterr()
    for other, from_ in ((["--embedding-dim", "16"], "shallow"), ([], "deep")):
        args = [*TRAIN, *other, "--start-from", f"{from_}.safetensors", "--checkpoint-dir", "new"]
        refused(args, capsys, "another kind of model", "'embedding_dim': 8" if other else "'depth'")


# Stopping and going on


def test_stopped_twice_it_ends_as_if_it_had_never_been_stopped(capsys: Said) -> None:
    args = [*TRAIN, "--epochs", "20", "--checkpoint-dir", "Run"]
    for stop in (signal.SIGINT, signal.SIGTERM):
        with run(*args) as process:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("step "))
            process.send_signal(stop)
            _, err = process.communicate(timeout=PATIENCE)
        stopped = re.fullmatch(r"stopped after step (\d+) of 40; .* go on from Run\n", err)
        assert process.returncode == 130 and stopped is not None, err
        assert 1 <= int(stopped[1]) < 40
        assert not os.path.exists("model.safetensors") and not list(Path().rglob("*partial*"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in `run`
    try:
        assert main(args) == 0
        said = capsys.readouterr().out
        assert "Resuming the run in Run." in said and "step 40 of 40" in said
        assert main([*args, "--checkpoint-dir", "Other", "-o", "whole.safetensors"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert read_notes("model.safetensors")["images_seen"] == 40 * 20
    assert same_weights("model.safetensors", "whole.safetensors")


def test_a_finished_run_is_not_trained_again(capsys: Said) -> None:
    assert main([*TWO_STEPS, "-o", "first.safetensors"]) == 0
    Path("runs/shapes10/run.json").write_text("[" * 100_000)  # it is for people to read
    capsys.readouterr()
    assert main(TWO_STEPS) == 0
    said = capsys.readouterr().out
    assert "Resuming" in said and "step" not in said and "finished already" in said
    assert same_weights("first.safetensors", "model.safetensors")


@pytest.mark.parametrize(
    "other", [["--num-heads", "4"], ["--lr", "1"], ["--num-images", "60"], ["--epochs", "2"]]
)
def test_another_run_is_not_resumed(other: list[str], capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    capsys.readouterr()
    refused([*TWO_STEPS, *other], capsys, "runs/shapes10 belongs to another run", "was", "is now")
    Path("runs/shapes10/training_state.pt").write_text("nothing")
    refused(TWO_STEPS, capsys, "training_state.pt is damaged")


def test_full_disk(capsys: Said) -> None:
    Path("model.safetensors").write_text("an old model")
    with no_file_above(1000):
        assert main(TWO_STEPS) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1
    assert Path("model.safetensors").read_text() == "an old model"
    assert not list(Path().rglob("*partial*"))
    assert main(TWO_STEPS) == 0  # there is room again


# Minutes


def test_minutes_are_planned_in_steps_and_the_plan_is_kept(capsys: Said) -> None:
    args = [*TRAIN, "--minutes", "0.1"]
    assert main(args) == 0
    said = capsys.readouterr().out
    plan = re.search(r"^(\d+) images/s: ([\d,]+) steps fill 0.1 minutes", said, re.MULTILINE)
    assert plan is not None
    speed, steps = int(plan[1]), int(plan[2].replace(",", ""))
    planned = 20 * steps / speed  # seconds
    assert planned <= 1.02 * 6 and (planned > 2 or steps < 30), "the minutes are to be used"
    assert read_notes("model.safetensors")["images_seen"] == 20 * steps
    assert f"step {steps} of {steps}" in said
    # Another time the machine may be faster or slower; the run stays the same.
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "Measuring" not in said and "Resuming" in said and "finished already" in said


def test_a_deeper_model_is_measured_as_slower() -> None:
    loader, speeds = make_loader(load_shapes10(64), 8), []
    for depth in (1, 24):
        model = DiffusionTransformerUNet(embedding_dim=8, num_heads=2, depth=depth)
        weights, state = next(model.parameters()).clone(), torch.get_rng_state()
        speeds.append(training_speed(0.3, model=model, loader=loader, precision="no"))
        assert torch.equal(weights, next(model.parameters())), "the model itself was trained"
        assert torch.equal(state, torch.get_rng_state()), "the random numbers changed"
    assert speeds[0] > 2 * speeds[1] > 0  # other programs may be running


# Refusing


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--epochs", "0"], ["'--epochs'"]),
        (["--minutes", "1"], ["--epochs and --minutes", "one of them"]),
        (["--minutes", "0"], ["'--minutes'"]),
        (["--batch-size", "41"], ["40 images", "batch_size=41"]),
        (["--lr", "-1"], ["learning rate"]),
        (["--decay", "2"], ["decay", "[0, 1]"]),
        (["--embedding-dim", "9"], ["multiple of 8"]),
        (["--embedding-dim", "-8"], ["'--embedding-dim'"]),
        (["--num-heads", "5"], ["num_heads"]),
        (["--data", "imagenet"], ["'--data'", "shapes10"]),
        (["--output", "model.pt"], ["model.pt", ".safetensors"]),
        (["--output", "/proc/model.safetensors"], ["cannot write /proc/model.safetensors"]),
        (["--checkpoint-dir", "/dev/null/runs"], ["cannot write /dev/null/runs"]),
        (["--start-from", "none.safetensors"], ["there is no model at none.safetensors"]),
        (["a-word"], ["a-word"]),
    ],
)
def test_bad_options(args: list[str], words: list[str], capsys: Said) -> None:
    refused([*TWO_STEPS, *args], capsys, *words)


def test_minutes_too_few_for_ten_steps(capsys: Said) -> None:
    args = [*TRAIN, "--embedding-dim", "128", "--num-heads", "4", "--minutes", "0.01"]
    refused(args, capsys, "--minutes 0.01 has time for", "give more")


def test_little_time_is_for_fewer_blocks(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    args = [word for word in TRAIN if word not in ("--depth", "1")]
    for few, blocks in ((1, 4), (10**9, 2)):
        monkeypatch.setattr("aetherfusion.cli.recipe.FEW_IMAGES", few)
        place = ["--checkpoint-dir", f"Run{blocks}"]
        assert main([*args, "--minutes", "0.05", *place]) == 0
        assert f"a model of {blocks} blocks" in capsys.readouterr().out
        assert load_model("model.safetensors").config["depth"] == blocks
    assert main([*args, "--minutes", "0.05", "--depth", "3", "--checkpoint-dir", "Run3"]) == 0
    assert load_model("model.safetensors").config["depth"] == 3
    # What a run began with, it goes on with.
    monkeypatch.setattr("aetherfusion.cli.recipe.FEW_IMAGES", 1)
    assert main([*args, "--minutes", "0.05", *place]) == 0
    assert "finished already" in capsys.readouterr().out


def test_a_part_of_cifar10(cifar10_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHERFUSION_DATA", str(cifar10_root))
    args = ["train", "--num-images", "40", "--batch-size", "20", "--embedding-dim", "8"]
    assert main([*args, "--num-heads", "2", "--depth", "1", "--epochs", "1"]) == 0
    assert read_notes("model.safetensors")["images_seen"] == 40
    assert load_model("model.safetensors").class_names == aetherfusion.CIFAR10_CLASSES
