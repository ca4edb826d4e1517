"""Model files: weights, configuration and notes in one safetensors file with a checksum.

No lesson builds this, and there are no equations; lessons from 00 on use `load_pretrained`.
The header is JSON that anyone can read, and nothing in a file is executed.
"""

import json
import re
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .diffusion import PATHS, SamplingSettings
from .model import DiffusionTransformerUNet
from .utils.files import atomic_write, content_hash
from .utils.hardware import unwrapped

FORMAT = "aetherfusion-1"
DTYPES = {torch.float32, torch.float16, torch.bfloat16}
WRAPPER = re.compile(r"\b(_orig_mod|module)\.")  # what torch.compile and DDP add to names
Loaded = tuple[DiffusionTransformerUNet, dict[str, Any]]


def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Writes a model to a file that `load_model` reads; the file is complete or absent.

    >>> save_model(model, "horses.safetensors", notes={"images_seen": 1_000_000})

    The model may be compiled or data-parallel. `dtype` is that of the weights in the file: float32,
    bfloat16 or float16 (half the size). `notes` are anything that JSON can hold.
    Raises ValueError for a model, a dtype or notes that would not load, and OSError if the file
    cannot be written; what was there before is then unchanged.
    """
    path, model, notes = Path(path), unwrapped(model), notes or {}
    noise_path: Any = model.path
    if PATHS.get(noise_path.name) != noise_path:
        raise ValueError(f"a file knows the paths {', '.join(PATHS)}, not this {noise_path.name!r}")
    dumps = json.JSONEncoder(default=lambda number: number.item(), allow_nan=False).encode
    for key, value in notes.items():
        try:
            dumps({key: value})
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"JSON cannot hold notes[{key!r}], a {type(value)}") from error
    config = {**model.config, "path": noise_path.name}  # type: ignore[dict-item]
    header = {"format": FORMAT, "config": dumps(config), "notes": dumps(notes)}
    if model.sampling is not None:
        header["sampling"] = dumps(asdict(model.sampling))  # type: ignore[call-overload]
    weights = {
        WRAPPER.sub("", name): value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    _build(header, weights)
    header["sha256"] = content_hash(chain(*sorted({**header, **weights}.items())))
    with atomic_write(path) as partial:  # other users could not read what `save_file` writes
        partial.write_bytes(save(weights, metadata=header))
    return path


def load_model(path: str | Path, *, device: torch.device | str = "cpu") -> DiffusionTransformerUNet:
    """Reads a model that `save_model` wrote, in float32 and ready to generate.

    >>> model = load_model("horses.safetensors")

    Raises ValueError if the file is cut short, damaged, altered or of another kind, OSError if it
    cannot be read, FileNotFoundError if there is none.
    """
    return _read(Path(path))[0].to(device)


def read_notes(path: str | Path) -> dict[str, Any]:
    """The notes that `save_model` wrote into a file; errors as for `load_model`."""
    return _read(Path(path))[1]


def load_pretrained(
    name: str = "cifar10", *, device: torch.device | str = "cpu"
) -> DiffusionTransformerUNet:
    """A trained model of the package, see `weights/README.md`; ValueError for unknown names.

    >>> model = load_pretrained()
    """
    found = sorted((Path(__file__).parent / "weights").glob("*.safetensors"))
    known = {file.stem: file for file in found if file.stem != "judge"}
    if name not in known:
        raise ValueError(f"there is no pretrained model {name!r}; there is {', '.join(known)}")
    return load_model(known[name], device=device)


def _read(path: Path) -> Loaded:
    if not path.is_file():
        raise FileNotFoundError(f"there is no model at {path}; save_model writes one")
    open(path, "rb").close()  # without permission its error is clearer than safe_open's
    try:
        with safe_open(path, framework="pt") as file:
            return _build(file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        hint = "is cut short or is no safetensors file of save_model; copy or download it again"
        raise ValueError(f"{path} {hint} ({error})") from error


def _build(header: dict[str, str], weights: dict[str, Tensor]) -> Loaded:
    """Everything is checked and all sizes are compared before memory is allocated."""
    if header.get("format") != FORMAT:
        raise ValueError(f"it is a safetensors file of another kind: format {header.get('format')}")
    for name, value in weights.items():
        if value.dtype not in DTYPES or not value.sum(dtype=torch.float64).isfinite():
            raise ValueError(f"{name} ({value.dtype}) is not finite float32, float16 or bfloat16")
    try:
        saved = header.pop("sha256", None)  # older files have none
        contents = chain(*sorted({**header, **weights}.items()))
        altered = saved is not None and saved != content_hash(contents)
        if altered or header.keys() - {"format", "config", "notes", "sampling"}:
            raise ValueError("its checksum says that something was altered")
        config, notes = json.loads(header["config"]), dict(json.loads(header.get("notes", "{}")))
        sampling = json.loads(header.get("sampling", "null"))
        names, path = config.pop("class_names", None), PATHS[config.pop("path", "flow")]
        if {type(v) for v in config.values()} - {int} or {type(n) for n in names or ()} - {str}:
            raise ValueError("sizes must be integers and class_names strings")
        if 8 * config.get("depth", 4) > len(weights) or config.get("image_size", 32) > 1024:
            raise ValueError("depth or image_size is too large")  # a block has over 8 tensors
        with torch.device("meta"), _NoInit():
            model = DiffusionTransformerUNet(**config, class_names=names, path=path)
        plain = {WRAPPER.sub("", k): v.to(torch.float32, copy=True) for k, v in weights.items()}
        model.load_state_dict(plain, assign=True)
        if sampling is not None:
            interval = tuple(sampling.pop("guidance_interval"))
            model.sampling = SamplingSettings(**sampling, guidance_interval=interval)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(str(e).split())[:300]
        raise ValueError(f"the weights do not fit its header: {reason}") from e
    return model.to(memory_format=torch.channels_last).eval(), notes


class _NoInit(TorchFunctionMode):  # skips torch.nn.init: the weights come from a file
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        skip = getattr(func, "__module__", None) == "torch.nn.init"
        return None if skip else func(*args, **(kwargs or {}))
