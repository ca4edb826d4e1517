"""Files that are either complete or absent, and the fingerprint of what is in them.

No lesson builds this. Every file that the package writes goes through `atomic_write`.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` if all goes well and is removed if not.

        with atomic_write("loss.json") as partial:
            partial.write_text("[]")

    The suffix stays the same, because some libraries choose the format by it.

    Raises:
        OSError: if the file cannot be written; what was there before is unchanged.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        os.replace(partial, path)
        with suppress(OSError):  # Windows cannot open a folder
            _flush(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until the disk has it, so that a power cut cannot leave an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: str | Path) -> None:
    """Finds out before hours of work whether `path` can be written afterwards.

    Raises:
        OSError: if it cannot; says why.
    """
    path = Path(path).absolute()
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder; add the name of a file")
    # Missing folders will be made, so ask the nearest one that exists (a dangling link does not).
    folder = next((parent for parent in path.parents if os.path.lexists(parent)), path.parent)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {folder}: {error.strerror}") from error


def file_stem(words: str) -> str:
    """A file name from words, with dashes for the characters that file names should not have."""
    return "-".join(re.findall(r"[\w.+-]+", words)).strip(".-") or "samples"


def content_hash(value: Any) -> str:
    """SHA-256 of tensors, plain values, and lists, tuples and dictionaries of them."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous()
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            if part.numel():
                digest.update(part.flatten().view(torch.uint8).numpy())
        elif isinstance(part, dict):
            digest.update(f"dict{len(part)}".encode())
            for key, inner in part.items():
                add(key)
                add(inner)
        elif isinstance(part, (list, tuple)):
            digest.update(f"list{len(part)}".encode())
            for inner in part:
                add(inner)
        else:
            digest.update(f"{part!r};".encode())

    add(value)
    return digest.hexdigest()
