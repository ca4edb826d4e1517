"""Files that are either whole or not there.

Owns: `written_beside`, `check_writable` and `check_picture_format`. Behind every file that the
command line writes.
"""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` if all goes well and is removed if not.

        with written_beside(Path("loss.json")) as partial:
            partial.write_text("[]")

    The ending stays the same, as it tells some libraries the format.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Finds out now, before hours of work, whether `path` can be written later; leaves no trace.

    Raises:
        OSError: it cannot be written; says why.
    """
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder; add the name of a file")
    # Folders that are missing will be made: ask the nearest one that is there.
    place = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OSError(f"cannot write {path}: {place}: {error.strerror}") from error


def check_picture_format(path: Path) -> None:
    """Writes a picture of the format that the name ends in, to nowhere.

    Raises:
        ValueError: there is no such format, or it cannot hold our pictures.
    """
    kind = Image.registered_extensions().get(path.suffix.lower(), "unknown")
    try:
        Image.new("RGB", (1, 1)).save(io.BytesIO(), kind)
    except (KeyError, OSError) as error:
        raise ValueError(f"{path}: end the name in .png (or another picture format)") from error
