"""The command line: what it makes, what it says, and what it leaves behind when it cannot."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import aetherfusion
from aetherfusion import (
    SHAPES10_CLASSES,
    DiffusionTransformerUNet,
    cli,
    doctor,
    generate_images,
    load_model,
    recipe,
    save_images,
    save_model,
)
from aetherfusion.checkpoint import read_notes
from aetherfusion.cli import main
from aetherfusion.download import download_cifar10
from aetherfusion.writing import written_beside

PACKAGE = Path(aetherfusion.__file__).parent
PRETRAINED = PACKAGE / "weights" / "cifar10.safetensors"
TINY = ["--embedding-dim", "8", "--num-heads", "2", "--depth", "1"]
#: Two steps of a tiny model on forty drawn images.
TRAIN = ["train", "--data", "shapes10", "--num-images", "40", "--batch-size", "20", *TINY]
TWO_STEPS = [*TRAIN, "--epochs", "1"]

PATIENCE = 300  # seconds for a process that works for ten, as the machine may be busy

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in a folder of its own and finds no data."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AETHERFUSION_DATA", str(folder / "data"))
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A tiny model file outside the folder; its pictures are no flat grey."""
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(
        embedding_dim=8, num_heads=2, depth=1, class_names=SHAPES10_CLASSES
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return str(save_model(model, tmp_path / "Tiny.safetensors"))


@contextmanager
def run(*args: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m aetherfusion` with these arguments, as a process of its own; none is left over."""
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "aetherfusion", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(args: list[str], capsys: Said, *words: str) -> None:
    """Asserts that a command is refused in one line that holds these words, and writes nothing."""
    before = sorted(Path().rglob("*"))
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.err.startswith("Error: ") and said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err and not said.err.startswith("Error: [Errno")
    for word in words:
        assert word in said.err
    assert sorted(Path().rglob("*")) == before


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk: writing more than this into one file is an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Asking


def test_version(capsys: Said) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aetherfusion {aetherfusion.__version__}\n"


@pytest.mark.parametrize("command", [[], ["generate"], ["train"], ["doctor"]])
def test_help_shows_examples(command: list[str], capsys: Said) -> None:
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert re.search("^  +aetherfusion " + "".join(command), said, re.MULTILINE)
    assert "\b" not in said


def test_nothing_at_all_is_a_question_too(capsys: Said) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_help_tells_the_defaults_of_the_functions(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["generate", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"[default: {cli.SAMPLING['steps']};" in said
    assert f"[default: {cli.SAMPLING['guidance_scale']};" in said


def test_the_module_is_the_command() -> None:
    with run("generate", "--weights", "nowhere.safetensors") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert (
        out == "" and err.startswith("Error: there is no model at nowhere") and "\n" not in err[:-1]
    )


# Generating


def test_generates_what_the_function_generates(weights: str, capsys: Said) -> None:
    options = ["--steps", "3", "--guidance", "3", "--interval", "0.2", "0.9", "--seed", "4"]
    look = ["--cols", "2", "--zoom", "1", "--sampler", "heun"]
    args = ["generate", "star", "1", "-n", "4", "-o", "new/some.png", *options, *look]
    assert main([*args, "--weights", weights]) == 0
    said = capsys.readouterr().out
    assert "new/some.png" in said and re.search(r"\d seconds", said)
    expected = generate_images(
        load_model(weights),
        4,
        labels=["star", 1],
        seed=4,
        steps=3,
        guidance_scale=3,
        guidance_interval=(0.2, 0.9),
        sampler=aetherfusion.heun,
    )
    save_images(expected, "expected.png", cols=2, zoom=1)
    made, wanted = Image.open("new/some.png"), Image.open("expected.png")
    assert made.size == wanted.size and made.tobytes() == wanted.tobytes()
    assert os.listdir("new") == ["some.png"]


def test_defaults_are_those_of_the_function(weights: str) -> None:
    assert main(["generate", "--weights", weights]) == 0
    save_images(generate_images(load_model(weights)), "expected.png")
    assert Image.open("samples.png").tobytes() == Image.open("expected.png").tobytes()


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["star"], "star.png"),
        (["Star ", "disc"], "star-disc.png"),
        (["7"], "7.png"),
        ([], "samples.png"),
        (["star", "disc", "ring", "moon"], "samples.png"),
    ],
)
def test_picture_is_named_after_the_labels(weights: str, labels: list[str], name: str) -> None:
    assert main(["generate", *labels, "--steps", "1", "--weights", weights]) == 0
    assert os.listdir() == [name]


@pytest.mark.parametrize("sampler", ["dpmpp", "heun", "ddim"])
def test_every_sampler_has_a_name(weights: str, sampler: str) -> None:
    assert main(["generate", "--steps", "2", "--sampler", sampler, "--weights", weights]) == 0


@pytest.mark.skipif(not PRETRAINED.exists(), reason="there are no pretrained weights yet")
def test_horses_without_any_file() -> None:
    assert main(["generate", "horse", "-n", "2", "--steps", "2"]) == 0
    assert os.listdir() == ["horse.png"]


@pytest.mark.skipif(not PRETRAINED.exists(), reason="there are no pretrained weights yet")
def test_misspelt_class_of_the_pretrained_model(capsys: Said) -> None:
    refused(["generate", "hrose"], capsys, "did you mean 'horse'")


# Refusing


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["stra"], ["no class 'stra'", "did you mean 'star'"]),
        (["../star"], ["no class"]),
        (["11"], ["[0, 10)", "got 11"]),
        (["-n", "0"], ["'-n'"]),
        (["-n", "many"], ["'-n'"]),
        (["-n", "1", "star", "disc"], ["2 labels"]),
        (["--steps", "0"], ["'--steps'"]),
        (["--zoom", "0"], ["'--zoom'"]),
        (["--seed", "-1"], ["'--seed'"]),
        (["--guidance", "nan"], ["--guidance"]),
        (["--guidance", "inf"], ["--guidance", "finite"]),
        (["--guidance", "-1"], ["'--guidance'"]),
        (["--interval", "0.9", "0.1"], ["guidance_interval"]),
        (["--sampler", "magic"], ["'--sampler'", "dpmpp"]),
        (["--colour"], ["--colour"]),
        (["-o", "star.docx"], ["star.docx", ".png"]),
        (["-o", "star.xbm"], ["star.xbm", ".png"]),
        (["-o", "star"], ["star", ".png"]),
        (["-o", "/proc/star.png"], ["cannot write /proc/star.png"]),
        (["-o", "/dev/null/star.png"], ["cannot write /dev/null/star.png", "Not a directory"]),
    ],
)
def test_bad_options_of_generate(
    args: list[str],
    words: list[str],
    weights: str,
    capsys: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--interval" not in args:  # the function under it looks at that one
        monkeypatch.setattr(cli, "generate_images", lambda *_, **__: pytest.fail("too late"))
    refused(["generate", *args, "--weights", weights], capsys, *words)


def test_a_folder_is_no_picture(weights: str, capsys: Said) -> None:
    Path("star.png").mkdir()
    refused(["generate", "-o", "star.png", "--weights", weights], capsys, "folder")


def test_bad_weights(weights: str, capsys: Said, tmp_path: Path) -> None:
    cut, foreign, text = tmp_path / "cut", tmp_path / "foreign", tmp_path / "text"
    cut.write_bytes(Path(weights).read_bytes()[:-100])
    save_file({"a": torch.zeros(2)}, foreign)
    text.write_text("no model at all")
    for command in ("generate", "doctor"):
        refused([command, "--weights", "nowhere"], capsys, "there is no model at nowhere")
        refused([command, "--weights", str(tmp_path)], capsys, "there is no model")
        refused([command, "--weights", str(cut)], capsys, "cut short")
        refused([command, "--weights", str(text)], capsys, "no safetensors file")
        refused([command, "--weights", str(foreign)], capsys, "of another kind")


def test_full_disk_leaves_the_old_picture(weights: str, capsys: Said) -> None:
    Path("star.png").write_text("an old picture")
    with no_file_above(1000):
        refused(["generate", "star", "--steps", "1", "--weights", weights], capsys, "too large")
    assert Path("star.png").read_text() == "an old picture"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--epochs", "0"], ["'--epochs'"]),
        (["--batch-size", "41"], ["40 images", "batch_size=41"]),
        (["--lr", "-1"], ["learning rate"]),
        (["--embedding-dim", "9"], ["multiple of 8"]),
        (["--num-heads", "5"], ["num_heads"]),
        (["--data", "imagenet"], ["'--data'", "shapes10"]),
        (["--output", "model.pt"], ["model.pt", ".safetensors"]),
        (["--output", "/proc/model.safetensors"], ["cannot write /proc/model.safetensors"]),
        (["--checkpoint-dir", "/dev/null/runs"], ["cannot write /dev/null/runs"]),
        (["a-word"], ["a-word"]),
    ],
)
def test_bad_options_of_train(args: list[str], words: list[str], capsys: Said) -> None:
    refused([*TWO_STEPS, *args], capsys, *words)


def test_a_run_that_cannot_begin_leaves_nothing(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("fp16 cannot be had here")

    monkeypatch.setattr("aetherfusion.training.make_accelerator", refuse)
    refused(TWO_STEPS, capsys, "fp16 cannot be had here")


def test_no_data_and_no_network(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = functools.partial(download_cifar10, mirrors=("http://127.0.0.1:9/nothing",))
    monkeypatch.setattr("aetherfusion.data.download_cifar10", nobody)
    monkeypatch.setattr("aetherfusion.download.PAUSE_SECONDS", 0)
    Path("data").mkdir()
    refused(["train"], capsys, "CIFAR-10 could not be downloaded", "AETHERFUSION_DATA")


def test_full_disk_while_training(capsys: Said) -> None:
    Path("model.safetensors").write_text("an old model")
    with no_file_above(1000):
        assert main(TWO_STEPS) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1
    assert Path("model.safetensors").read_text() == "an old model"
    assert not list(Path().rglob("*partial*"))
    assert main(TWO_STEPS) == 0  # there is room again


def test_mistakes_of_ours_keep_their_traceback(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(cli, "generate_images", broken)
    with pytest.raises(TypeError, match="a mistake of ours"):
        main(["generate", "--weights", weights])


def test_a_file_is_whole_or_not_there() -> None:
    with pytest.raises(OSError, match="full"), written_beside(Path("a/b.txt")) as partial:
        partial.write_text("half of")
        raise OSError("the disk is full")
    assert os.listdir("a") == []
    with written_beside(Path("a/b.txt")) as partial:
        partial.write_text("all of it")
        assert partial.suffix == ".txt" and not Path("a/b.txt").exists()
    assert os.listdir("a") == ["b.txt"] and Path("a/b.txt").read_text() == "all of it"


# Training


def test_train_then_generate(capsys: Said) -> None:
    assert main([*TWO_STEPS, "--preview-every", "2", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "step 2 of 2" in said and "Resuming" not in said
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


def test_train_again_resumes(capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    before = read_notes("model.safetensors")["cpu_seconds"]
    capsys.readouterr()
    assert main(TWO_STEPS) == 0
    said = capsys.readouterr().out
    assert "Resuming" in said and "step" not in said
    assert read_notes("model.safetensors")["images_seen"] == 40
    assert read_notes("model.safetensors")["cpu_seconds"] >= before


@pytest.mark.parametrize(
    "other", [["--num-heads", "4"], ["--lr", "1"], ["--num-images", "50"], ["--epochs", "2"]]
)
def test_another_recipe_is_not_resumed(other: list[str], capsys: Said) -> None:
    assert main(TWO_STEPS) == 0
    capsys.readouterr()
    refused([*TWO_STEPS, *other], capsys, other[0], "was", "--checkpoint-dir")


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
    assert main([*TRAIN, "--epochs", "7", *options, "--checkpoint-dir", "There"]) == 130
    assert (seen["precision"], seen["compile"], seen["accumulate"]) == ("no", True, 3)
    assert (seen["seed"], seen["epochs"]) == (5, 7)
    assert seen["checkpoint_dir"] == Path("There")
    assert seen["optimizer"].param_groups[0]["lr"] == 0.5  # type: ignore[attr-defined]
    assert len(seen["loader"].dataset) == 40  # type: ignore[attr-defined]
    assert seen["model"].class_names == SHAPES10_CLASSES  # type: ignore[attr-defined]


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
    options = dict.fromkeys(["accumulate", "lr", "seed", "embedding_dim", "num_heads", "depth"], 1)
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
