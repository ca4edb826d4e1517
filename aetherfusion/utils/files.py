"""Files that are either whole or not there.

Owns: `written_beside`, `check_writable`, `check_picture_format` and `file_stem`. Behind every file
that the command line writes.
"""

import glob
import io
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

ABANDONED_SECONDS = 600.0  # no write of ours takes so long


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` if all goes well and is removed if not.

        with written_beside(Path("loss.json")) as partial:
            partial.write_text("[]")

    The ending stays the same, as it tells some libraries the format.
    """
    # For this write alone: two may write to one place at once, and the later one wins.
    partial = path.with_name(f".{path.stem}.partial-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_up(path)
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _clear_up(path: Path) -> None:
    """Removes what processes that were killed while they wrote have left."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.partial-*{glob.escape(path.suffix)}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                left.unlink()


def check_writable(path: Path) -> None:
    """Finds out now, before hours of work, whether `path` can be written later; leaves no trace.

    Raises:
        OSError: it cannot be written; says why.
    """
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder; add the name of a file")
    # Folders that are missing will be made: ask the nearest one that is there.
    place = next((folder for folder in path.absolute().parents if folder.exists()), None)
    if place is None:
        raise OSError(f"cannot write {path}: there is no {path.absolute().anchor}")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OSError(f"cannot write {path}: {place}: {error.strerror}") from error


def check_picture_format(path: Path, width: int = 1, height: int = 1) -> None:
    """Writes lines as wide and as high as a picture, in the format of its name, to nowhere.

    Raises:
        ValueError: there is no such format, or it cannot hold our pictures, or none so large.
    """
    kind = Image.registered_extensions().get(path.suffix.lower(), "unknown")
    try:
        Image.new("RGB", (1, 1)).save(io.BytesIO(), kind)
    except (KeyError, OSError) as error:
        raise ValueError(f"{path}: end the name in .png (or another picture format)") from error
    for size in ((width, 1), (1, height)):
        if max(size) > 16_000:  # no format of ours ends below
            try:
                Image.new("RGB", size).save(io.BytesIO(), kind)
            except Exception as error:  # each format fails in a way of its own
                raise ValueError(
                    f"{path}: {width} x {height} pixels are too many for this format; end the name "
                    "in .png, or write fewer pictures or smaller ones"
                ) from error


def file_stem(words: str) -> str:
    """A name for a file: the words with a dash in the place of what a name should not hold."""
    return "-".join(re.findall(r"[\w.+-]+", words)).strip(".-") or "samples"
