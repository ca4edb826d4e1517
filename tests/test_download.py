"""The download, from servers on this machine that are good, gone, wrong, silent or cut off."""

import errno
import hashlib
import io
import os
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR10

from aetherfusion.utils import download
from aetherfusion.utils.download import CIFAR10_ARCHIVE, CIFAR10_FOLDER, download_cifar10

PAYLOAD = os.urandom(300_000)  # does not compress, so the archive is about as large


def make_archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = make_archive({f"{CIFAR10_FOLDER}/data_batch_1": PAYLOAD})
MD5 = hashlib.md5(ARCHIVE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The path says how to behave; every request is recorded."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.asked.append(name)
        getattr(self, name)()

    def send(self, body: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        self.send(ARCHIVE)

    def gone(self) -> None:
        self.send(b"", status=404)

    def rubbish(self) -> None:
        self.send(b"<html>log in</html>")

    def cut(self) -> None:
        self.send(ARCHIVE[:100_000], length=len(ARCHIVE))

    def silent(self) -> None:
        self.send(ARCHIVE[:100_000], length=len(ARCHIVE))
        time.sleep(1)

    def flaky(self) -> None:
        self.cut() if self.asked.count("flaky") == 1 else self.good()

    def interrupted(self) -> None:
        self.send(ARCHIVE[:100_000], length=len(ARCHIVE))
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


Fetch = Callable[..., None]


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def fetch(tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """fetch("cut", "good") downloads into tmp_path from these mirrors, in this order."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    handler = type("ThisHandler", (Handler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

        def fetch(*mirrors: str, md5: str = MD5) -> None:
            urls = tuple(f"http://127.0.0.1:{server.server_port}/{name}" for name in mirrors)
            download_cifar10(tmp_path, mirrors=urls, md5=md5)

        yield fetch
        server.shutdown()


def assert_complete(root: Path) -> None:
    """The archive and its contents are right, and nothing else is left."""
    assert sorted(p.name for p in root.iterdir()) == [CIFAR10_FOLDER, CIFAR10_ARCHIVE]
    assert [p.name for p in (root / CIFAR10_FOLDER).iterdir()] == ["data_batch_1"]
    assert (root / CIFAR10_FOLDER / "data_batch_1").read_bytes() == PAYLOAD
    assert (root / CIFAR10_ARCHIVE).read_bytes() == ARCHIVE


def test_a_folder_that_does_not_exist_is_made(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.rmdir()
    fetch("good")
    assert_complete(tmp_path)


@pytest.mark.parametrize("bad", ["gone", "rubbish", "cut", "silent"])
def test_a_bad_mirror_is_left_for_the_next(
    fetch: Fetch, tmp_path: Path, asked: list[str], bad: str
) -> None:
    fetch(bad, "good")
    assert asked == [bad, "good"]
    assert_complete(tmp_path)


def test_a_connection_that_was_cut_is_tried_again(
    fetch: Fetch, tmp_path: Path, asked: list[str]
) -> None:
    fetch("flaky")
    assert asked == ["flaky", "flaky"]
    assert_complete(tmp_path)


def test_when_all_fail_the_message_says_what_each_one_did(
    fetch: Fetch, tmp_path: Path, asked: list[str]
) -> None:
    with pytest.raises(ConnectionError) as caught:
        fetch("gone", "rubbish", "cut")
    message = str(caught.value)
    hints = ["404", "another file (wrong md5)", "100000 bytes read"]
    for words in [*hints, CIFAR10_ARCHIVE, str(tmp_path), "load_shapes10()"]:
        assert words in message, f"{words!r} is missing from: {message}"
    assert "\n" not in message and message.count("wrong md5") == 1
    assert list(tmp_path.iterdir()) == [], "something half-written is left"


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(127.0.0.1: "):
        download_cifar10(tmp_path, mirrors=("http://127.0.0.1:9/nobody",))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch("interrupted", "good")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_already_there_is_used(fetch: Fetch, tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE)
    fetch("good")
    assert asked == []
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE[:100_000])
    fetch("good")
    assert asked == ["good"]
    assert_complete(tmp_path)


def test_a_damaged_folder_is_replaced(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / CIFAR10_FOLDER).mkdir()
    (tmp_path / CIFAR10_FOLDER / "data_batch_1").write_bytes(b"half")
    (tmp_path / CIFAR10_FOLDER / "stray").write_bytes(b"")
    fetch("good")
    assert_complete(tmp_path)


def test_a_full_disk_is_named(
    fetch: Fetch, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(OSError, match=r"the disk is full.*360 MB.*AETHERFUSION_DATA") as caught:
        fetch("good", "good")
    assert caught.value.errno == errno.ENOSPC and asked == ["good"]
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10_ARCHIVE], "something half-written"


def test_a_folder_that_cannot_be_written_is_not_blamed_on_the_mirrors(
    fetch: Fetch, tmp_path: Path, asked: list[str]
) -> None:
    tmp_path.rmdir()
    tmp_path.write_text("a file where the folder should be")
    with pytest.raises(OSError) as caught:
        fetch("good")
    assert not isinstance(caught.value, ConnectionError) and asked == []


def test_an_archive_that_leads_out_of_its_folder_is_refused(fetch: Fetch, tmp_path: Path) -> None:
    evil = make_archive({f"{CIFAR10_FOLDER}/a": b"", "../../evil": b""})
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(evil)
    with pytest.raises(tarfile.FilterError):
        fetch("gone", md5=hashlib.md5(evil).hexdigest())
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10_ARCHIVE]
    assert not (tmp_path.parent / "evil").exists()


def test_the_real_mirrors_are_https_and_the_official_one_is_last() -> None:
    assert all(url.startswith("https://") for url in download.CIFAR10_MIRRORS)
    assert download.CIFAR10_MIRRORS[-1].startswith("https://www.cs.toronto.edu/")
    assert len(set(download.CIFAR10_MIRRORS)) == len(download.CIFAR10_MIRRORS) >= 2
    expected = (CIFAR10.tgz_md5, CIFAR10.filename, CIFAR10.base_folder)
    assert expected == (download.CIFAR10_MD5, CIFAR10_ARCHIVE, CIFAR10_FOLDER)
