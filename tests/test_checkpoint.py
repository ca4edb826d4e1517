"""Model files: whole, safe to read, and clear about what is wrong with them."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from aetherfusion import DiffusionTransformerUNet, load_model, load_pretrained, save_model
from aetherfusion.checkpoint import read_notes

WEIGHTS = Path(__file__).parent.parent / "aetherfusion" / "weights" / "cifar10.safetensors"


@pytest.fixture
def model() -> DiffusionTransformerUNet:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(
        image_size=8, num_classes=2, embedding_dim=16, num_heads=2, depth=1, class_names=("a", "b")
    )
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def answer(model: DiffusionTransformerUNet) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    xt = torch.randn(2, 3, 8, 8, generator=generator)
    with torch.no_grad():
        return model(xt, torch.tensor([0.2, 0.9]), torch.tensor([0, 1]))


def test_round_trip_is_exact(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "new" / "model.safetensors", notes={"images_seen": 3})
    again = load_model(path)
    assert torch.equal(answer(again), answer(model))
    assert again.config == model.config and again.class_names == ("a", "b")
    assert not again.training and read_notes(path) == {"images_seen": 3}
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_half_precision_halves_the_file_and_keeps_the_answer(
    model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    full = save_model(model, tmp_path / "full.safetensors")
    half = save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    again = load_model(half)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert (answer(again) - answer(model)).abs().max() < 1e-2


def test_header_is_json_that_anyone_can_read(
    model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    """Read by hand, as the safetensors format says: eight bytes of length, then JSON."""
    path = save_model(model, tmp_path / "model.safetensors")
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])["__metadata__"]
    assert json.loads(header["config"])["embedding_dim"] == 16
    assert set(load_file(path)) == set(model.state_dict())


def test_truncated_file(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    data = path.read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="is cut short or is no safetensors file"):
            load_model(path)


def test_a_compiled_model_is_saved_as_the_model_it_is(
    model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    path = save_model(torch.compile(model), tmp_path / "model.safetensors")  # type: ignore[arg-type]
    loaded = load_model(path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


def test_a_file_that_may_not_be_read_says_so(
    model: DiffusionTransformerUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(model, tmp_path / "model.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        load_model(path)


def test_foreign_files(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no model at"):
        load_model(path)
    torch.save(model.state_dict(), path)  # a pickle: not even looked into
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_model(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"safetensors file of another kind.*format None"):
        load_model(path)


@pytest.mark.parametrize(
    "config",
    [
        {"image_size": 8, "num_classes": 2, "embedding_dim": 24, "num_heads": 2, "depth": 1},
        {"image_size": 8, "num_classes": 5, "embedding_dim": 16, "num_heads": 2, "depth": 1},
        {"image_size": 8, "num_classes": 2, "embedding_dim": 16, "num_heads": 2, "depth": 2},
        {"image_size": 7},
        {"surprise": 1},
    ],
)
def test_weights_that_do_not_fit_their_header(
    model: DiffusionTransformerUNet, tmp_path: Path, config: dict
) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    header["config"] = json.dumps(config)
    save_file(load_file(path), path, metadata=header)
    with pytest.raises(ValueError, match="do not fit its header") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_a_model_as_any_other_file(
    model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    (tmp_path / "any.txt").write_text("")
    path = save_model(model, tmp_path / "model.safetensors")
    assert path.stat().st_mode == (tmp_path / "any.txt").stat().st_mode


def test_full_disk_keeps_the_old_file(
    model: DiffusionTransformerUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    before = path.read_bytes()

    def full(file: Path, content: bytes) -> int:
        with open(file, "wb") as half:
            half.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="could not write the model"):
        save_model(model, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_pretrained_model_is_there_and_small_and_says_how_it_was_made() -> None:
    model = load_pretrained()
    assert model.config["image_size"] == 32 and len(model.class_names or ()) == 10
    assert WEIGHTS.stat().st_size <= 16_000_000
    assert set(load_file(WEIGHTS)) == set(model.state_dict())
    assert {v.dtype for v in load_file(WEIGHTS).values()} == {torch.float16}
    assert read_notes(WEIGHTS)["images_seen"] >= 500_000
    with pytest.raises(ValueError, match=r"no pretrained model .imagenet.; there is cifar10$"):
        load_pretrained("imagenet")
