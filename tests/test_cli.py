"""The command line: what it makes, what it says, and what it refuses."""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from command_line import (  # noqa: F401
    PATIENCE,
    PRETRAINED,
    TWO_STEPS,
    Said,
    an_empty_folder,
    no_file_above,
    refused,
    run,
    weights,
)
from PIL import Image
from safetensors.torch import save_file

import aetherfusion
from aetherfusion import (
    cli,
    generate_images,
    load_model,
    save_images,
)
from aetherfusion.cli import main
from aetherfusion.utils.download import download_cifar10
from aetherfusion.utils.files import check_writable, file_stem, atomic_write

# Asking


def test_version(capsys: Said) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aetherfusion {aetherfusion.__version__}\n"


@pytest.mark.parametrize(
    "command", [[], ["generate"], ["train"], ["evaluate"], ["picker"], ["doctor"]]
)
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
        (["--guidance", "inf"], ["guidance_scale", "finite"]),
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
    if not {"--interval", "inf"} & set(args):  # the function under it looks at those
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
        (["--minutes", "1"], ["--epochs and --minutes", "one of them"]),
        (["--minutes", "0"], ["'--minutes'"]),
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
    monkeypatch.setattr("aetherfusion.utils.download.PAUSE_SECONDS", 0)
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
    with pytest.raises(OSError, match="full"), atomic_write(Path("a/b.txt")) as partial:
        partial.write_text("half of")
        raise OSError("the disk is full")
    assert os.listdir("a") == []
    with atomic_write(Path("a/b.txt")) as partial:
        partial.write_text("all of it")
        assert partial.suffix == ".txt" and not Path("a/b.txt").exists()
    assert os.listdir("a") == ["b.txt"] and Path("a/b.txt").read_text() == "all of it"


def test_two_may_write_to_one_place_at_once() -> None:
    Path("horse.partial.png").write_text("somebody's own")
    with atomic_write(Path("horse.png")) as partial:
        partial.write_text("ours")
        Path("horse.png").write_text("of another process")
    assert Path("horse.png").read_text() == "ours"
    assert Path("horse.partial.png").read_text() == "somebody's own"


def test_what_killed_writes_left_is_removed() -> None:
    old, new, other = (
        Path(f".{name}.png") for name in ("a.partial-1", "a.partial-2", "b.partial-1")
    )
    for left in (old, new, other):
        left.write_text("half")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    with atomic_write(Path("a.png")) as partial:
        partial.write_text("whole")
    assert not old.exists() and new.exists() and other.exists()


def test_a_drive_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(OSError, match=r"cannot write far\.png: there is no"):
        check_writable(Path("far.png"))


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("horse", "horse"),
        ("fire truck", "fire-truck"),
        ("cat/dog", "cat-dog"),
        ("../up", "up"),
        ("größe 3.5", "größe-3.5"),
        ("?", "samples"),
        ("", "samples"),
    ],
)
def test_a_file_is_named_after_words(words: str, stem: str) -> None:
    assert file_stem(words) == stem


def test_pictures_too_large_for_their_format_are_told_before_they_are_made(
    weights: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "generate_images", None)
    many = ["generate", "--weights", weights, "-n", "2425", "-o", "many.jpg"]
    refused(many, capsys, "many.jpg: 688 x 65968 pixels are too many for this format")


def test_what_a_code_page_lacks_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows pipes in a code page of its own, which may know no é."""
    with open(tmp_path / "said", "w", encoding="cp1251") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(cli.facts, "examine", lambda *_, say, **__: say("Fréchet"))
        assert main(["doctor"]) == 0
    assert (tmp_path / "said").read_text() == "Fr?chet\n"
