"""The command line: training, and what this machine can do."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import (  # noqa: F401
    PATIENCE,
    TRAIN,
    TWO_STEPS,
    Said,
    an_empty_folder,
    refused,
    run,
    weights,
)
from PIL import Image

import aetherfusion
from aetherfusion import (
    SHAPES10_CLASSES,
    DiffusionTransformerUNet,
    cli,
    doctor,
    generate_images,
    load_model,
    load_shapes10,
    make_loader,
    recipe,
    save_images,
    save_model,
    train,
)
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import main

# Training


def test_train_then_generate(capsys: Said) -> None:
    assert main([*TWO_STEPS, "--preview-every", "2", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "step 2 of 2" in said and "Resuming" not in said and "finished" not in said
    folder = Path("runs/shapes10")
    left = {"training_state.pt", "run.json", "history.json", "loss.png", "preview-000002.png"}
    assert set(os.listdir(folder)) == left
    history = json.loads((folder / "history.json").read_text())
    assert history["images"] == [20, 20] and len(history["loss"]) == 2

    notes = read_notes("model.safetensors")
    assert notes["images_seen"] == 40
    assert notes["recipe"]["data"] == "shapes10" and notes["recipe"]["seed"] == 3
    assert notes["precision"] in ("no", "bf16", "fp16")
    assert notes["cpu_seconds"] > 0 and notes["seconds"] >= 0
    assert abs(notes["loss"] - sum(history["loss"]) / 2) < 1e-5
    assert notes["aetherfusion"] == aetherfusion.__version__
    assert notes["torch"] == torch.__version__
    assert str(Path.cwd()) not in json.dumps(notes)

    # The command it advises works, and so does the preview: both are the averaged model's.
    advised = re.search(r"^ +aetherfusion (generate .*)$", said, re.MULTILINE)
    assert advised is not None
    assert main(advised[1].split()) == 0
    assert os.path.exists("disc.png")
    save_images(generate_images(load_model("model.safetensors")), "expected.png")
    preview = Image.open(folder / "preview-000002.png")
    assert preview.tobytes() == Image.open("expected.png").tobytes()


def test_the_noted_command_makes_the_same_model() -> None:
    assert main([*TWO_STEPS, "--lr", "0.001", "--accumulate", "2", "-o", "a.safetensors"]) == 0
    first, notes = load_model("a.safetensors"), read_notes("a.safetensors")
    again = notes["command"].split()[1:]
    assert main([*again, "-o", "b.safetensors", "--checkpoint-dir", "elsewhere"]) == 0
    second = load_model("b.safetensors")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_training_goes_on_from_a_model_file(capsys: Said) -> None:
    assert main([*TWO_STEPS, "-o", "first.safetensors"]) == 0
    go_on = [*TWO_STEPS, "--start-from", "first.safetensors", "--lr", "0"]
    assert main([*go_on, "--checkpoint-dir", "again", "-o", "second.safetensors"]) == 0
    first, second = load_model("first.safetensors"), load_model("second.safetensors")
    for name, value in first.state_dict().items():
        assert torch.allclose(value, second.state_dict()[name], atol=1e-6), name
    notes = read_notes("second.safetensors")
    assert "--start-from first.safetensors" in notes["command"]
    assert notes["started_from"] == read_notes("first.safetensors")
    far = str(Path("first.safetensors").resolve())
    assert main([*TWO_STEPS, "--start-from", far, "--checkpoint-dir", "far"]) == 0
    assert str(Path.cwd()) not in json.dumps(read_notes("model.safetensors"))
    capsys.readouterr()
    other = [*TRAIN, "--embedding-dim", "16", "--start-from", "first.safetensors"]
    kind = "another kind of model"
    refused([*other, "--checkpoint-dir", "new"], capsys, kind, "embedding_dim 8, not 16")
    refused([*TRAIN, "--start-from", "none.safetensors"], capsys, "none.safetensors")


def test_a_deeper_model_begins_where_the_shallow_one_stopped(capsys: Said) -> None:
    assert main([*TWO_STEPS, "-o", "shallow.safetensors"]) == 0
    deeper = [*TWO_STEPS, "--depth", "3", "--start-from", "shallow.safetensors", "--lr", "0"]
    assert main([*deeper, "--checkpoint-dir", "again", "-o", "deep.safetensors"]) == 0
    shallow, deep = load_model("shallow.safetensors"), load_model("deep.safetensors")
    assert len(deep.unet.blocks) == 3 > len(shallow.unet.blocks)
    size = shallow.image_size
    inputs = torch.randn(4, 3, size, size), torch.rand(4), torch.arange(4)
    with torch.no_grad():
        before, after = shallow(*inputs), deep(*inputs)
    assert before.abs().max() > 0
    assert torch.allclose(before, after, atol=1e-5)
    capsys.readouterr()
    other = [*TRAIN, "--depth", "1", "--start-from", "deep.safetensors"]
    refused([*other, "--checkpoint-dir", "new"], capsys, "another kind of model", "depth 3, not 1")


def test_train_again_resumes(capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    before = read_notes("model.safetensors")["cpu_seconds"]
    capsys.readouterr()
    assert main(TWO_STEPS) == 0
    said = capsys.readouterr().out
    assert "Resuming" in said and "step" not in said
    assert "finished already" in said and "delete runs/shapes10" in said
    assert read_notes("model.safetensors")["images_seen"] == 40
    assert read_notes("model.safetensors")["cpu_seconds"] >= before


@pytest.mark.parametrize(
    "other",
    [
        ["--num-heads", "4"],
        ["--lr", "1"],
        ["--num-images", "50"],
        ["--epochs", "2"],
        ["--decay", "0.5"],
    ],
)
def test_another_recipe_is_not_resumed(other: list[str], capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    capsys.readouterr()
    refused([*TWO_STEPS, *other], capsys, other[0], "was", "--checkpoint-dir")


def test_a_folder_of_another_program_is_left_as_it_was(capsys: Said) -> None:
    model = DiffusionTransformerUNet(embedding_dim=8, num_heads=2, depth=1)
    optimizer = torch.optim.Adam(model.parameters())
    loader = make_loader(load_shapes10(40), 20)
    train(model, loader, torch.nn.MSELoss(), optimizer, 1, checkpoint_dir="mine", progress=False)
    assert os.listdir("mine") == ["training_state.pt"]
    capsys.readouterr()
    assert main([*TWO_STEPS, "--checkpoint-dir", "mine"]) == 2
    assert "belongs to another run" in capsys.readouterr().err
    assert os.listdir("mine") == ["training_state.pt"]


def test_a_run_that_failed_at_once_is_resumed_by_its_own_recipe_alone(
    capsys: Said, tmp_path: Path
) -> None:
    model = DiffusionTransformerUNet(
        embedding_dim=8, num_heads=2, depth=1, class_names=SHAPES10_CLASSES
    )
    good = str(save_model(model, tmp_path / "good.safetensors"))
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    bad = str(save_model(model, tmp_path / "bad.safetensors"))
    assert main([*TWO_STEPS, "--start-from", bad]) == 2
    capsys.readouterr()
    assert main([*TWO_STEPS, "--start-from", good]) == 2
    assert "holds another run: --start-from was" in capsys.readouterr().err


def test_damaged_state_is_told(capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    capsys.readouterr()
    Path("runs/shapes10/training_state.pt").write_text("nothing")
    refused(TWO_STEPS, capsys, "damaged")
    Path("runs/shapes10/run.json").write_text("{}")
    refused(TWO_STEPS, capsys, "run.json is damaged")


def test_options_reach_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def spy(model: torch.nn.Module, loader: object, *args: object, **options: object) -> None:
        seen.update(options, model=model, loader=loader, epochs=args[2], optimizer=args[1])
        raise KeyboardInterrupt("enough")

    monkeypatch.setattr(recipe, "train", spy)
    options = ["--precision", "no", "--compile", "--accumulate", "3", "--seed", "5", "--lr", "0.5"]
    options += ["--decay", "0.3"]
    assert main([*TRAIN, "--epochs", "7", *options, "--checkpoint-dir", "There"]) == 130
    assert (seen["precision"], seen["compile"], seen["accumulate"]) == ("no", True, 3)
    assert (seen["seed"], seen["epochs"], seen["decay"]) == (5, 7, 0.3)
    assert seen["checkpoint_dir"] == Path("There")
    assert seen["optimizer"].param_groups[0]["lr"] == 0.5  # type: ignore[attr-defined]
    assert len(seen["loader"].dataset) == 40  # type: ignore[attr-defined]
    assert seen["model"].class_names == SHAPES10_CLASSES  # type: ignore[attr-defined]


def test_as_many_epochs_as_fit_into_the_minutes(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At two images a second the forty take 20 seconds, and a tenth is kept in reserve."""
    asked: list[dict[str, object]] = []

    def two(**of: object) -> float:
        asked.append(of)
        return 2.0

    monkeypatch.setattr(doctor, "training_speed", two)
    assert main([*TRAIN, "--minutes", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 images a second: 2 epochs of 40 images, in about 40.0 seconds." in said
    sizes = {"batch_size": 20, "embedding_dim": 8, "num_heads": 2, "depth": 1}
    assert asked == [sizes | {"precision": None, "compile": False}]
    notes = read_notes("model.safetensors")
    assert notes["images_seen"] == 2 * 40 and "--epochs 2" in notes["command"]
    assert "minutes" not in notes["command"]  # another machine would do another number

    # The same again is the same run, however fast the machine is now.
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 1e6)
    assert main([*TRAIN, "--minutes", "1"]) == 0
    said = capsys.readouterr().out
    assert "Resuming the run of 2 epochs in runs/shapes10-1-minutes." in said
    assert "a second" not in said


def test_what_has_passed_of_the_minutes_is_not_planned_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 54 usable seconds 30 went by before, for a download or for compiling: one epoch of 20."""
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 2.0)
    plan = functools.partial(doctor.epochs_within, 1, 40, batch_size=20, say=print)
    assert plan(since=time.monotonic()) == 2
    assert plan(since=time.monotonic() - 30) == 1


def test_minutes_too_few_for_an_epoch_are_refused_with_what_fits(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At half an image a second the forty take 80 seconds, and a minute is enough for a batch."""
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 0.5)
    refused([*TRAIN, "--minutes", "1"], capsys, "one epoch takes 80.0 seconds", "--num-images 20")
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 0.05)
    refused([*TRAIN, "--minutes", "1"], capsys, "13.3 minutes", "give it more minutes")


def test_a_damaged_state_is_told_before_anything_is_measured(capsys: Said) -> None:
    folder = Path("runs/shapes10-1-minutes")
    folder.mkdir(parents=True)
    (folder / "training_state.pt").write_text("nothing")
    refused([*TRAIN, "--minutes", "1"], capsys, "damaged", "checkpoint_dir")


def test_ctrl_c_while_the_speed_is_measured(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(**_: object) -> float:
        raise KeyboardInterrupt("stopped after step 5 of 200")

    monkeypatch.setattr(doctor, "training_speed", stopped)
    assert main([*TRAIN, "--minutes", "1"]) == 130
    assert capsys.readouterr().err == "Stopped before the training began\n"
    assert not list(Path().rglob("*.*"))


def test_a_run_of_minutes_goes_on_without_its_record(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 2.0)
    assert main([*TRAIN, "--minutes", "1"]) == 0
    Path("runs/shapes10-1-minutes/run.json").unlink()
    monkeypatch.setattr(doctor, "training_speed", lambda **_: 1e6)
    assert main([*TRAIN, "--minutes", "1"]) == 0
    assert "Resuming the run of 2 epochs" in capsys.readouterr().out


def test_minutes_are_measured_with_the_model_that_is_trained() -> None:
    """A deep model is slower; nothing is said of how much, as other programs may run."""
    tiny = {"embedding_dim": 8, "num_heads": 2}
    fast = doctor.training_speed(0.3, batch_size=8, depth=1, **tiny)
    assert fast > 2 * doctor.training_speed(0.3, batch_size=8, depth=24, **tiny) > 0


def test_minutes_are_measured_compiled_where_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled steps are faster: counted as plain ones they would leave minutes unused."""
    asked: list[object] = []

    def stopped(**of: object) -> float:
        asked.append(of["compile"])
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "training_speed", stopped)
    assert main([*TRAIN, "--minutes", "1", "--compile"]) == 130
    assert asked == [True]


def test_the_speed_of_compiled_steps_is_that_of_a_compiled_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[bool] = []
    steps = doctor.training_steps

    def spy(*args: object, compile: bool, **options: object) -> object:
        compiled.append(compile)
        return steps(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(doctor, "training_steps", spy)
    doctor.training_speed(0.0, batch_size=2, compile=True, embedding_dim=8, num_heads=2, depth=1)
    assert compiled == [True]


def test_several_processes_are_told_their_number_of_epochs(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.PartialState()  # all of them share one state
    monkeypatch.setitem(recipe.PartialState._shared_state, "num_processes", 2)
    refused([*TRAIN, "--minutes", "1"], capsys, "--minutes measures a single process")


def test_stopping_says_the_message_as_it_is(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("stopped; the state is in Some/Folder")

    monkeypatch.setattr(cli, "follow", stopped)
    assert main(TRAIN) == 130
    assert capsys.readouterr().err == "Stopped; the state is in Some/Folder\n"


def test_ctrl_c_leaves_what_the_same_command_finishes() -> None:
    args = [*TRAIN, "--epochs", "40", "--checkpoint-dir", "Run"]
    with run(*args) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 1 of 80"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    stopped = re.fullmatch(r"Stopped after step (\d+) of 80; .* go on from Run\n", err)
    assert stopped is not None, err
    assert 1 <= int(stopped[1]) < 80
    assert not os.path.exists("model.safetensors") and not list(Path().rglob("*partial*"))
    spent = json.loads(Path("Run/run.json").read_text())["cpu_seconds"]

    with run(*args) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Resuming" in out and "step 80 of 80" in out and "step 1 of" not in out
    notes = read_notes("model.safetensors")
    assert notes["images_seen"] == 80 * 20 and notes["cpu_seconds"] > spent

    # As if it had never been stopped; in a process of its own, with the same number of threads.
    with run(*TRAIN, "--epochs", "40", "-o", "whole.safetensors") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    whole, parts = load_model("whole.safetensors"), load_model("model.safetensors")
    for name, value in whole.state_dict().items():
        assert (value - parts.state_dict()[name]).abs().max() < 1e-5, name


def test_fewer_pictures_of_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    """--num-images keeps the first ones and their mirror images."""
    some = recipe.load_shapes10(30)
    some.flip = True
    monkeypatch.setattr(recipe, "load_cifar10", lambda: some)
    options = ["accumulate", "lr", "seed", "embedding_dim", "num_heads", "depth"]
    options = dict.fromkeys([*options, "decay"], 1)
    taken = recipe.Recipe(
        data="cifar10", num_images=7, epochs=1, batch_size=1, precision=None, **options
    ).load()
    assert len(taken) == 7 and taken.flip and torch.equal(taken.images, some.images[:7])


# The doctor


def test_doctor_says_everything(
    weights: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = functools.partial(DiffusionTransformerUNet, embedding_dim=8, num_heads=2, depth=1)
    monkeypatch.setattr(doctor, "DiffusionTransformerUNet", tiny)
    assert main(["doctor", "--quick", "--weights", weights]) == 0
    said = capsys.readouterr().out
    lines = dict(re.split(r"   +", line, maxsplit=1) for line in said.splitlines() if "   " in line)
    for name in ("aetherfusion", "Python", "torch", "torchvision", "accelerate", "CUDA"):
        assert lines[name], name
    assert lines["aetherfusion"] == aetherfusion.__version__
    assert lines["torch"] == torch.__version__.partition("+")[0] or "+" in lines["torch"]
    assert lines["CPU threads"].startswith(str(torch.get_num_threads()))
    assert lines["Precision"].split(",")[0] in ("bf16", "fp16", "no")
    assert lines["CIFAR-10"].startswith("not found in")
    assert "AETHERFUSION_DATA" in said and "shapes10" in said
    assert lines["Weights"].startswith("found") and "10 classes" in said
    assert re.fullmatch(r"[1-9]\d* images a second", lines["Training"])
    assert re.fullmatch(r"[\d.]+ (seconds|minutes|hours)", lines["Generating 10 pictures"])
    assert said.isascii() and max(map(len, said.splitlines())) < 80


def test_doctor_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_there() -> None:
        raise ValueError("there is none")

    monkeypatch.setattr(doctor, "load_pretrained", none_there)
    model, found = doctor.find_weights(None)
    assert model is None and found.startswith("not found (there is none)")


def test_the_doctors_sums() -> None:
    told = dict(doctor.expect(100.0, epochs=20))
    assert told == {
        "One epoch of CIFAR-10 (50,000 images)": "8.3 minutes",
        "aetherfusion train (20 epochs of it)": "2.8 hours",
        "One epoch of shapes10 (10,000 images)": "1.7 minutes",
        "5 minutes of a lesson": "3.0 epochs of shapes10",
        "25 minutes of a lesson": "3.0 epochs of CIFAR-10",
    }
    assert doctor.in_words(89.9) == "89.9 seconds" and doctor.in_words(90) == "1.5 minutes"
    assert doctor.in_words(5399) == "90.0 minutes" and doctor.in_words(5400) == "1.5 hours"


def test_the_doctors_speed_is_that_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of what follows the warm-up, in images of a whole batch."""

    def slow_at_first(*_: object, **__: object) -> Iterator[aetherfusion.Step]:
        for step, seconds in enumerate([9.0, 9.0, 9.0, 0.5, 0.5, 7.0], start=1):
            yield aetherfusion.Step(step, 6, 0, 1.0, 1.0, 64, seconds, torch.nn.Identity())

    monkeypatch.setattr(doctor, "training_steps", slow_at_first)
    assert doctor.training_speed(8.0) == 64 / 0.5
    assert doctor.training_speed(0.0) == 64 / 0.5


def test_the_doctor_finds_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_cifar10", lambda: Path("somewhere"))
    assert dict(doctor.describe())["CIFAR-10"] == "found in somewhere"
