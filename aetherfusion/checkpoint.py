"""A model in one file: its weights, and how it was made, readable by anyone.

Owns: `save_model`, `load_model` and `load_pretrained`. Used from lesson 00 on.
The file is a safetensors one. Its header is JSON and holds the configuration; nothing in it is
executed when it is read.
"""

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .model import DiffusionTransformerUNet
from .utils.files import atomic_write

FORMAT = "aetherfusion-1"


def save_model(
    model: DiffusionTransformerUNet,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Writes a model to a safetensors file, beside it first and then renamed.

    >>> save_model(model, "horses.safetensors", notes={"images_seen": 1_000_000})

    Args:
        model: what to save; its `config` goes into the header. The noise path is the caller's to
            remember, or to note, if it is not the default.
        path: the file, which is replaced if it is there.
        dtype: of the weights in the file; float16 halves it.
        notes: anything worth knowing, for the header; must fit into JSON.

    Returns:
        the path.

    Raises:
        OSError: if it cannot be written; what was there before is still there.
    """
    path = Path(path)
    model = getattr(model, "_orig_mod", model)  # what torch.compile(model) wraps
    weights = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "config": json.dumps(model.config),
        "notes": json.dumps(notes or {}),
    }
    try:
        with atomic_write(path) as partial:
            # Not `save_file`: what that writes nobody else on the machine may read.
            partial.write_bytes(save(weights, metadata=header))
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write the model to {path}: {error}") from error
    return path


def load_model(path: str | Path, *, device: torch.device | str = "cpu") -> DiffusionTransformerUNet:
    """Reads a model that `save_model` wrote, in float32 and ready to generate.

    >>> model = load_model("horses.safetensors")

    Args:
        path: the file.
        device: where the model shall be.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut short, is of another kind, or does not fit its own header.
        OSError: if it cannot be read for another reason (a right that is missing, say).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model at {path}; save_model writes one")
    with open(path, "rb"):
        pass  # what keeps it from being read says so here in words of its own
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or is no safetensors file ({error}); copy or download it again"
        ) from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file of another kind: its header says format "
            f"{header.get('format')!r}, not {FORMAT!r}, which save_model writes"
        )
    try:
        model = DiffusionTransformerUNet(**json.loads(header["config"]))
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the weights in {path} do not fit its header: {reason}") from error
    return model.to(device).eval()


def read_notes(path: str | Path) -> dict[str, Any]:
    """What `save_model` was told to note in the header of a file."""
    with safe_open(Path(path), framework="pt") as file:
        return json.loads((file.metadata() or {}).get("notes", "{}"))


def load_pretrained(
    name: str = "cifar10", *, device: torch.device | str = "cpu"
) -> DiffusionTransformerUNet:
    """A trained model that came with the package; no network is needed.

    >>> model = load_pretrained()

    Args:
        name: "cifar10", ten classes of 32x32 pictures; its card is `weights/README.md`.
        device: where the model shall be.

    Raises:
        ValueError: if there is none of that name.
    """
    folder = files("aetherfusion") / "weights"
    entries = folder.iterdir() if folder.is_dir() else ()
    known = sorted(
        entry.name.removesuffix(".safetensors")
        for entry in entries
        if entry.name.endswith(".safetensors") and entry.name != "judge.safetensors"
    )
    if name not in known:
        there_is = f"there is {', '.join(known)}" if known else "the package came without any"
        raise ValueError(f"there is no pretrained model {name!r}; {there_is}")
    with as_file(folder / f"{name}.safetensors") as path:
        return load_model(path, device=device)
