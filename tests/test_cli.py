"""The command line: what it makes, what it prints, and what it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from command_line import (  # noqa: F401
    PATIENCE,
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
from aetherfusion import generate_images, load_model, save_images
from aetherfusion.cli import main

# Help


def test_version(capsys: Said) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aetherfusion {aetherfusion.__version__}\n"


@pytest.mark.parametrize("command", ["generate", "train"])
def test_help_shows_examples_and_every_option(command: str, capsys: Said) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert re.search(f"^  +aetherfusion {command} .*--", said, re.MULTILINE) and "\b" not in said
    assert "--seed" in said and "-o, --output" in said
    assert main([]) == main(["-h"]) == main(["evaluate", "-h"]) == 0
    said = capsys.readouterr().out
    assert said.count("Commands:") == 2 and "aetherfusion picker" in said and "--guidance" in said


def test_the_module_is_the_command() -> None:
    with run("generate", "--weights", "nowhere.safetensors") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and out == "" and err.count("\n") == 1
    assert err.startswith("Error: there is no model at nowhere")


def test_a_pipe_that_is_closed_early_is_no_error() -> None:
    with run("doctor", "--quick") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head -1` does
        process.wait(timeout=PATIENCE)
        assert process.stderr.read() == ""


# Generating


def test_generates_what_the_function_generates(weights: str, capsys: Said) -> None:
    options = ["--steps", "3", "--guidance", "3", "--interval", "0.2", "0.9", "--seed", "4"]
    look = ["--cols", "2", "--zoom", "1", "--sampler", "heun"]
    args = ["generate", "star", "1", "-n", "4", "-o", "new/some.png", *options, *look]
    assert main([*args, "--weights", weights]) == 0
    assert "new/some.png" in capsys.readouterr().out
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
        (["Star ", "disc"], "star-disc.png"),
        (["7"], "7.png"),
        (["star", "disc", "ring", "moon"], "samples.png"),
        (["star"] * 12, "samples.png"),
    ],
)
def test_a_picture_is_named_after_its_labels(weights: str, labels: list[str], name: str) -> None:
    assert main(["generate", *labels, "--steps", "1", "--cols", "1", "--weights", weights]) == 0
    assert os.listdir() == [name]
    image, gap = 4 * 32, 4 * 2  # four times enlarged
    assert Image.open(name).height == gap + (image + gap) * max(10, len(labels))


def test_horses_without_any_file(capsys: Said) -> None:
    assert main(["generate", "horse", "-n", "1", "--steps", "1"]) == 0
    assert os.listdir() == ["horse.png"]
    capsys.readouterr()
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
        (["-n", "1", "star", "disc"], ["num_samples=1", "2"]),
        (["--steps", "0"], ["'--steps'"]),
        (["--zoom", "0"], ["'--zoom'"]),
        (["--seed", "-1"], ["'--seed'"]),
        (["--guidance", "nan"], ["--guidance"]),
        (["--guidance", "1e308"], ["guidance_scale"]),
        (["--interval", "0.9", "0.1"], ["guidance_interval"]),
        (["--sampler", "magic"], ["'--sampler'", "heun"]),
        (["--colour"], ["--colour"]),
        (["-o", "star.docx"], ["star.docx", ".png"]),
        (["-o", "."], ["picture format"]),
        (["-o", "/proc/star.png"], ["cannot write /proc/star.png"]),
        (["-o", "/dev/null/star.png"], ["cannot write /dev/null/star.png", "Not a directory"]),
    ],
)
def test_bad_options(args: list[str], words: list[str], weights: str, capsys: Said) -> None:
    refused(["generate", *args, "--weights", weights], capsys, *words)


def test_bad_weights(weights: str, capsys: Said, tmp_path: Path) -> None:
    cut, foreign = tmp_path / "cut", tmp_path / "foreign"
    cut.write_bytes(Path(weights).read_bytes()[:-100])
    save_file({"a": torch.zeros(2)}, foreign)
    for command in ("generate", "picker"):
        refused([command, "--weights", "nowhere"], capsys, "there is no model at nowhere")
        refused([command, "--weights", str(cut)], capsys, "cut")
        refused([command, "--weights", str(foreign)], capsys, "foreign", "of another kind")


def test_full_disk_leaves_the_old_picture(weights: str, capsys: Said) -> None:
    Path("star.png").write_text("an old picture")
    with no_file_above(1000):
        refused(["generate", "star", "--steps", "1", "--weights", weights], capsys, "too large")
    assert Path("star.png").read_text() == "an old picture"


def test_full_memory(capsys: Said) -> None:
    refused([*TWO_STEPS, "--embedding-dim", "80000000"], capsys, "memory is full", "--batch-size")


# The doctor


def test_doctor_reports_everything(weights: str, capsys: Said) -> None:
    assert main(["doctor", "--quick", "--weights", weights]) == 0
    said = capsys.readouterr().out
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in said.splitlines())
    assert aetherfusion.__version__ in facts["Versions"] and torch.__version__ in facts["Versions"]
    assert facts["Device"].startswith(("cpu", "cuda", "mps"))
    assert facts["Precision"].partition(":")[0] in ("bf16", "fp16", "no")
    assert facts["CIFAR-10"].startswith(f"not in {Path('data').resolve()}")
    assert facts["Weights"] == f"{sum(p.numel() for p in load_model(weights).parameters()):,}"
    speed, epoch = float(facts["Training"].split()[0]), float(facts["One epoch"].split()[0])
    assert abs(50_000 / (60 * epoch) - speed) < 1 and "seconds" in facts["Sampling"]
