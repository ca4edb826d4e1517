"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny import no_file_above as no_file_above

import aetherfusion
from aetherfusion import (
    SHAPES10_CLASSES,
    DiffusionTransformerUNet,
    save_model,
)
from aetherfusion.cli import main

PACKAGE = Path(aetherfusion.__file__).parent
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
