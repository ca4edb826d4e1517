"""Files that are either complete or absent, and a hash of contents. No lesson builds this."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` if all goes well; else nothing changes."""
    path = Path(path)
    if path.exists() and not path.is_file():  # a folder, or /dev/stdout
        raise OSError(f"cannot write {path}: it is not an ordinary file")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")  # some formats go by the suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # or a power cut could leave an empty file
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; free some space" if full else error.strerror
        raise OSError(error.errno, f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raises an OSError that says why if `path` cannot be written, before hours of work."""
    path = Path(path).absolute()
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write {path}: it is not an ordinary file")
    # Missing folders will be created, so ask the nearest one that exists, or a broken link.
    folder = next((parent for parent in path.parents if os.path.lexists(parent)), path.parent)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {folder}: {error.strerror}") from error


def file_stem(words: str) -> str:
    """A file name from words, with dashes for the characters that file names should not have."""
    return "-".join(re.findall(r"[\w.+-]+", words)).strip(".-") or "samples"


def content_hash(parts: Iterable[Any]) -> str:
    """SHA-256 of tensors and plain values, with their dtypes, shapes and order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            part = part.detach().cpu().contiguous().flatten()
            digest.update(part.view(torch.uint8).numpy().tobytes())
        else:
            digest.update(f"{part!r};".encode())
    return digest.hexdigest()
