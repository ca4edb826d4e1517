"""Model files: complete, safe to read, checked by a checksum, and clear about what is wrong."""

from __future__ import annotations

import json
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import no_file_above
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aetherfusion import COSINE, DiffusionTransformerUNet, load_model, load_pretrained, save_model
from aetherfusion.checkpoint import read_notes
from aetherfusion.diffusion import NoisePath, SamplingSettings

WEIGHTS = Path(__file__).parent.parent / "aetherfusion" / "weights" / "cifar10.safetensors"
NOTES = {"images_seen": 3}


@pytest.fixture
def model() -> DiffusionTransformerUNet:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(
        image_size=8, num_classes=2, embedding_dim=16, num_heads=2, depth=1, class_names=("a", "b")
    )
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


@pytest.fixture
def path(model: DiffusionTransformerUNet, tmp_path: Path) -> Path:
    return save_model(model, tmp_path / "model.safetensors", notes=NOTES)


def answer(model: DiffusionTransformerUNet) -> Tensor:
    xt = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(xt, torch.tensor([0.2, 0.9]), torch.tensor([0, 1]))


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Any], list[Tensor]]:
    model = load_model(path)
    return model.config, read_notes(path), list(model.state_dict().values())


def without_checksum(path: Path, **changes: Any) -> Path:
    """The same file as it was written before there were checksums, with some entries changed."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    del header["sha256"]
    header |= {name: json.dumps(value) for name, value in changes.items()}
    save_file(load_file(path), path, metadata=header)
    return path


def refused(path: Path, words: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=words) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(ValueError, match=words):
        read_notes(path)
    assert time.process_time() - started < 2


def test_round_trip_is_exact(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "new" / "model.safetensors", notes=NOTES)
    again = load_model(path)
    assert torch.equal(answer(again), answer(model))
    assert again.config == model.config and again.class_names == ("a", "b")
    assert not again.training and read_notes(path) == NOTES
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_a_loaded_model_is_like_a_new_one(model: DiffusionTransformerUNet, path: Path) -> None:
    """In layout and kind: convolutions are slow without channels_last, "meta" has no numbers."""
    again, default = load_model(path), torch.get_default_dtype()
    for name, value in model.state_dict(keep_vars=True).items():
        loaded = again.get_parameter(name)
        assert (loaded.stride(), loaded.requires_grad) == (value.stride(), True)
    torch.set_default_dtype(torch.float64)
    try:
        assert {p.dtype for p in load_model(path).parameters()} == {torch.float32}
    finally:
        torch.set_default_dtype(default)
    path.write_bytes(bytes(path.stat().st_size))  # the weights were copied, not mapped
    assert torch.equal(answer(again), answer(model))


def test_half_precision_halves_the_file_and_keeps_the_answer(
    model: DiffusionTransformerUNet, path: Path
) -> None:
    half = save_model(model, path.with_stem("half"), dtype=torch.float16)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    again = load_model(half)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert (answer(again) - answer(model)).abs().max() < 1e-2


def test_header_is_json_that_anyone_can_read(model: DiffusionTransformerUNet, path: Path) -> None:
    """Read by hand, as the safetensors format says: eight bytes of length, then JSON."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])["__metadata__"]
    assert json.loads(header["config"])["embedding_dim"] == 16
    assert json.loads(header["config"])["path"] == "flow" and len(header["sha256"]) == 64
    assert set(load_file(path)) == set(model.state_dict())


def test_the_noise_path_is_kept(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    curved = DiffusionTransformerUNet(**model.config | {"path": COSINE})
    assert load_model(save_model(curved, tmp_path / "curved.safetensors")).path is COSINE
    own = NoisePath("mine", COSINE.alpha, COSINE.sigma, COSINE.d_alpha, COSINE.d_sigma)
    with pytest.raises(ValueError, match="knows the paths flow, cosine, not this 'mine'"):
        save_model(DiffusionTransformerUNet(**model.config | {"path": own}), tmp_path / "own")
    assert [file.name for file in tmp_path.iterdir()] == ["curved.safetensors"]


def test_how_to_sample_is_kept(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    own = DiffusionTransformerUNet(**model.config)
    assert load_model(save_model(own, tmp_path / "new.safetensors")).sampling is None
    own.sampling = SamplingSettings(steps=2, tail=0, guidance_scale=1, guidance_interval=(0, 1))
    path = save_model(own, tmp_path / "own.safetensors")
    assert load_model(path).sampling == own.sampling
    for wrong in ({"steps": 3}, [1], 7, {"guidance_interval": None}):
        path = save_model(own, tmp_path / "own.safetensors")
        refused(without_checksum(path, sampling=wrong), "do not fit its header")


@pytest.mark.parametrize(
    "wrap",
    [torch.compile, nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model))],
    ids=["compiled", "parallel", "both"],
)
def test_a_wrapped_model_is_saved_under_plain_names(
    wrap: Callable[[nn.Module], nn.Module], model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    path = save_model(wrap(model), tmp_path / "model.safetensors")
    assert load_file(path).keys() == model.state_dict().keys()
    assert torch.equal(answer(load_model(path)), answer(model))


def test_a_model_with_a_compiled_part_is_saved_under_plain_names(
    model: DiffusionTransformerUNet, tmp_path: Path
) -> None:
    names = model.state_dict().keys()
    model.unet = torch.compile(model.unet)  # type: ignore[assignment]
    assert load_file(save_model(model, tmp_path / "model.safetensors")).keys() == names


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_files_with_the_names_of_wrappers_load(
    prefix: str, model: DiffusionTransformerUNet, path: Path
) -> None:
    with safe_open(without_checksum(path), framework="pt") as file:
        header = file.metadata()
    save_file({prefix + k: v for k, v in load_file(path).items()}, path, metadata=header)
    assert torch.equal(answer(load_model(path)), answer(model))


def test_numbers_of_numpy_and_torch_are_noted_as_numbers(
    model: DiffusionTransformerUNet, path: Path
) -> None:
    notes = {"fd": np.float32(3.5), "seen": np.int64(7), "loss": [torch.tensor(0.25)]}
    assert read_notes(save_model(model, path, notes=notes)) == {
        "fd": 3.5,
        "seen": 7,
        "loss": [0.25],
    }


def nested(depth: int = 100_000) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), torch.zeros(3), nested()])
def test_other_notes_are_refused_by_name(
    value: Any, model: DiffusionTransformerUNet, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"cannot hold notes\['bad'\]"):
        save_model(model, path, notes={"good": 1, "bad": value})
    assert path.read_bytes() == before


def test_weights_that_would_be_lost_are_not_written(
    model: DiffusionTransformerUNet, path: Path
) -> None:
    before = path.read_bytes()
    for dtype in (torch.int8, torch.bool, torch.complex64):
        with pytest.raises(ValueError, match=str(dtype)):
            save_model(model, path, dtype=dtype)
    with torch.no_grad():
        model.label_embedding.weight[0, 0] = 1e6
    with pytest.raises(
        ValueError, match=r"label_embedding\.weight \(torch\.float16\) is not finite"
    ):
        save_model(model, path, dtype=torch.float16)
    with torch.no_grad():
        model.label_embedding.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        save_model(model, path)
    assert path.read_bytes() == before


def test_truncated_file(path: Path) -> None:
    data = path.read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        refused(path, "is cut short or is no safetensors file")


def test_foreign_files(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no model at"):
        load_model(path)
    torch.save(model.state_dict(), path)  # a pickle: not even looked into
    refused(path, "is no safetensors file")
    save_file({"x": torch.zeros(2)}, path)
    refused(path, r"safetensors file of another kind.*format None")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden here")
def test_a_file_that_must_not_be_read_says_so(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(PermissionError, match="Permission denied"):
        load_model(path)


@pytest.mark.parametrize("with_checksum", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"config": {"image_size": 8, "num_classes": 2, "embedding_dim": 24, "num_heads": 2}},
        {"num_classes": 5},
        {"depth": 2},
        {"image_size": 7},
        {"surprise": 1},
        {"path": "mine"},
        {"path": ["flow"]},
        {"class_names": [None, "b"]},
        {"class_names": 2},
        {"image_size": 8.0},
        {"num_heads": "2"},
        # None of these may cost anything.
        {"embedding_dim": 32768},
        {"embedding_dim": 2**61},
        {"num_classes": 20_000_000},
        {"num_classes": 2**64, "class_names": None},
        {"channels": 1_000_000},
        {"depth": 1_000_000},
        {"image_size": 2**20},
        {"image_size": float("nan")},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_the_weights(
    change: dict[str, Any], with_checksum: bool, model: DiffusionTransformerUNet, path: Path
) -> None:
    config = change.get("config", model.config | {"path": "flow"} | change)
    with safe_open(path, framework="pt") as file:
        checksum = {"sha256": file.metadata()["sha256"]} if with_checksum else {}
    without_checksum(path, config=config)
    with safe_open(path, framework="pt") as file:
        header = file.metadata() | checksum
    save_file(load_file(path), path, metadata=header)
    refused(path, "do not fit its header")


@pytest.mark.parametrize("entry", ["config", "notes"])
@pytest.mark.parametrize("text", ["[" * 100_000, "", "{", "3", "null", '"flow"', "[1]"])
def test_a_header_of_the_wrong_kind(entry: str, text: str, path: Path) -> None:
    with safe_open(without_checksum(path), framework="pt") as file:
        header = file.metadata()
    save_file(load_file(path), path, metadata=header | {entry: text})
    refused(path, "do not fit its header")


def test_files_without_a_checksum_load_but_not_with_other_weights(path: Path) -> None:
    before = contents(path)[2]
    assert all(map(torch.equal, contents(without_checksum(path))[2], before))
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    for spoil in (lambda x: x * torch.inf, lambda x: x.int()):
        weights = load_file(path)
        name = "label_embedding.weight"
        save_file(weights | {name: spoil(weights[name])}, path, metadata=header)
        refused(path, name)
        save_file(weights, path, metadata=header)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """A small file of ours with one thing wrong."""
    (length,) = struct.unpack("<Q", data[:8])
    header, weights = data[8 : 8 + length], data[8 + length :]
    kind = draw.randrange(6)
    if kind == 0:  # a flipped bit, in the header as often as in the weights
        at = draw.randrange(8 + length) if draw.random() < 0.5 else draw.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[: draw.randrange(len(data))]
    if kind == 2:  # a block of zeros, as a bad disk gives
        at, size = draw.randrange(len(data)), draw.choice([16, 512, 4096])
        return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
    entries = json.loads(header)
    name = draw.choice(sorted(entries.keys() - {"__metadata__"}))
    if kind == 3:
        entries[name]["dtype"] = draw.choice(["I32", "U32", "BF16", "F16", "F64", "F8_E4M3", "X"])
    elif kind == 4:
        other = draw.choice(sorted(entries.keys() - {"__metadata__"}))
        part = draw.choice(["shape", "data_offsets", "dtype"])
        entries[name][part], entries[other][part] = entries[other][part], entries[name][part]
    else:
        meta = entries["__metadata__"]
        key = draw.choice(sorted(meta))
        at = draw.randrange(len(meta[key]))
        change = draw.choice(["", "0", "9", "[", '"', "\\u0000", meta[key][at : at + 9] * 2])
        meta[draw.choice([key, key, key + "x"])] = meta[key][:at] + change + meta[key][at + 1 :]
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + weights


def test_300_mutated_files_are_refused_or_unchanged(path: Path) -> None:
    data, draw, refusals = path.read_bytes(), random.Random(0), 0
    config, notes, weights = contents(path)
    for _ in range(300):
        path.write_bytes(mutated(data, draw))
        try:
            found = contents(path)
        except ValueError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert found[:2] == (config, notes)
            assert all(map(torch.equal, found[2], weights))
    assert refusals > 250


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_a_model_as_any_other_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "any.txt").write_text("")
    assert path.stat().st_mode == (tmp_path / "any.txt").stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_full_disk_keeps_the_old_file(model: DiffusionTransformerUNet, path: Path) -> None:
    before = path.read_bytes()
    with no_file_above(4096), pytest.raises(OSError, match=r"cannot write .*model\.safetensors"):
        save_model(model, path)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_pretrained_model_is_there_and_small_and_says_how_it_was_made() -> None:
    model = load_pretrained()
    assert model.config["image_size"] == 32 and len(model.class_names or ()) == 10
    assert WEIGHTS.stat().st_size <= 16_000_000
    assert set(load_file(WEIGHTS)) == set(model.state_dict())
    assert {v.dtype for v in load_file(WEIGHTS).values()} == {torch.float16}
    assert read_notes(WEIGHTS)["images_seen"] >= 500_000
    with pytest.raises(ValueError, match=r"no pretrained model .imagenet.; there is cifar10$"):
        load_pretrained("imagenet")
