"""The download, against servers on this machine that are slow, cut off, wrong, gone or good."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    """The first part of the path says how to behave; every request is written down."""

    asked: list[tuple[str, str | None]]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        asked_range = self.headers.get("Range")
        self.asked.append((self.path, asked_range))
        getattr(self, "serve_" + self.path.strip("/"))(asked_range)

    def send(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.head(len(body), status=status, **headers)
        self.wfile.write(body)

    def head(self, length: int, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_from(self, start: int, end: int = len(ARCHIVE)) -> None:
        """Announce the archive from `start` to its end, but deliver only up to `end`."""
        size = len(ARCHIVE)
        if start:
            spot = f"bytes {start}-{size - 1}/{size}"
            self.head(size - start, status=206, Content_Range=spot)
        else:
            self.head(size)
        self.wfile.write(ARCHIVE[start:end])

    def serve_good(self, asked_range: str | None) -> None:
        start = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
        if start >= len(ARCHIVE):
            self.send(b"", status=416, Content_Range=f"bytes */{len(ARCHIVE)}")
        else:
            self.send_from(start)

    def serve_cut(self, asked_range: str | None) -> None:
        start = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
        self.send_from(start, min(start + 50_000, len(ARCHIVE) - 1))

    def serve_plain(self, asked_range: str | None) -> None:
        self.send(ARCHIVE)  # knows nothing of ranges

    def serve_unannounced(self, asked_range: str | None) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ARCHIVE)

    def serve_slow(self, asked_range: str | None, pause: float = 0.01) -> None:
        first, size = 0, len(ARCHIVE)
        if asked_range:
            first = int(asked_range.removeprefix("bytes=").removesuffix("-"))
            spot = f"bytes {first}-{size - 1}/{size}"
            self.head(size - first, status=206, Content_Range=spot)
        else:
            self.head(size)
        try:
            for i in range(first, size, 2000):
                self.wfile.write(ARCHIVE[i : i + 2000])
                time.sleep(pause)
        except OSError:
            pass  # the client has had enough, as it should

    def serve_slower(self, asked_range: str | None) -> None:
        self.serve_slow(asked_range, pause=0.03)

    def serve_stalled(self, asked_range: str | None) -> None:
        self.head(len(ARCHIVE))
        self.wfile.write(ARCHIVE[:1000])
        time.sleep(1.5)

    def serve_rubbish(self, asked_range: str | None) -> None:
        self.send(b"rubbish" * 1000)

    def serve_login(self, asked_range: str | None) -> None:
        self.send(b"<html>log in</html>", Content_Type="text/html; charset=utf-8")

    def serve_gone(self, asked_range: str | None) -> None:
        self.send(b"", status=404)

    def serve_broken(self, asked_range: str | None) -> None:
        self.send(b"", status=503)


Fetch = Callable[..., Path]


@pytest.fixture
def asked() -> list[tuple[str, str | None]]:
    return []


@pytest.fixture
def fetch(
    tmp_path: Path, asked: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fetch]:
    """fetch("slow", "good") downloads into tmp_path from these mirrors, in this order."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("ThisHandler", (Handler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()

        def fetch(*mirrors: str, md5: str = MD5, min_rate: float = 1_000_000) -> Path:
            return download_cifar10(
                tmp_path,
                mirrors=tuple(f"http://127.0.0.1:{server.server_port}/{name}" for name in mirrors),
                md5=md5,
                min_rate=min_rate,
                timeout=0.5,
                progress=False,
            )

        yield fetch
        server.shutdown()
        thread.join()


def test_two_at_once_are_not_in_each_others_way(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []
    unpack = download._unpack
    monkeypatch.setattr(download, "_unpack", lambda *a: unpacked.append(a) or unpack(*a))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, "slow", min_rate=0)
        time.sleep(0.2)
        second = pool.submit(fetch, "slower", min_rate=0)
        for one in (first, second):
            assert one.result(timeout=60) == tmp_path / CIFAR10_FOLDER
    assert_complete(tmp_path, tmp_path / CIFAR10_FOLDER)
    assert len(unpacked) == 1, "what the first one reads is not taken away"


def test_what_a_killed_download_left_is_completed(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    left = tmp_path / f"{CIFAR10_ARCHIVE}.part-0badcafe"
    left.write_bytes(ARCHIVE[:30_000])
    os.utime(left, (0, 0))
    assert_complete(tmp_path, fetch("good"))
    assert asked == [("/good", "bytes=30000-")]


def test_what_another_download_is_at_is_let_be(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    growing = tmp_path / f"{CIFAR10_ARCHIVE}.part-0badcafe"
    growing.write_bytes(ARCHIVE[:30_000])
    fetch("good")
    assert asked == [("/good", None)] and growing.read_bytes() == ARCHIVE[:30_000]


def test_a_python_whose_tarfile_has_no_filters(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractall = tarfile.TarFile.extractall
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.setattr(
        tarfile.TarFile, "extractall", lambda tar, path: extractall(tar, path, filter="tar")
    )
    assert_complete(tmp_path, fetch("good"))


def assert_complete(root: Path, folder: Path) -> None:
    """The archive and its content are right, and nothing else is left."""
    assert folder == root / CIFAR10_FOLDER
    assert (folder / "data_batch_1").read_bytes() == PAYLOAD
    assert (root / CIFAR10_ARCHIVE).read_bytes() == ARCHIVE
    assert sorted(p.name for p in root.iterdir()) == [CIFAR10_FOLDER, CIFAR10_ARCHIVE]


def part_of(root: Path) -> Path:
    return root / (CIFAR10_ARCHIVE + ".part")


@pytest.mark.parametrize("server", ["good", "plain", "unannounced"])
def test_plain_download(fetch: Fetch, tmp_path: Path, server: str) -> None:
    assert_complete(tmp_path, fetch(server))


@pytest.mark.parametrize(
    ("bad", "requests"),
    [("gone", 1), ("broken", 3), ("rubbish", 1), ("login", 1), ("slow", 1), ("stalled", 3)],
)
def test_a_bad_mirror_is_left_for_the_next(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]], bad: str, requests: int
) -> None:
    assert_complete(tmp_path, fetch(bad, "good"))
    paths = [path for path, _ in asked]
    assert paths == ["/" + bad] * requests + ["/good"]


def test_no_network_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nobody = ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")  # nothing listens on this port
    with pytest.raises(ConnectionError, match=r"/a: no connection.*\n.*/b: no connection"):
        download_cifar10(tmp_path, mirrors=nobody, md5=MD5, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_where_all_are_slow_the_fastest_finishes(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    assert_complete(tmp_path, fetch("gone", "slow", "slower"))
    assert [path for path, _ in asked] == ["/gone", "/slow", "/slower", "/slow"]


def test_a_slow_mirror_leaves_its_bytes_to_the_next(
    fetch: Fetch, asked: list[tuple[str, str | None]]
) -> None:
    fetch("slow", "good")
    _, asked_range = asked[-1]
    assert asked_range is not None
    assert int(asked_range.removeprefix("bytes=").removesuffix("-")) >= 2000


def test_a_cut_connection_is_resumed(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    assert_complete(tmp_path, fetch("cut", "good"))
    assert asked == [
        ("/cut", None),
        ("/cut", "bytes=50000-"),
        ("/cut", "bytes=100000-"),
        ("/good", "bytes=150000-"),
    ]


def test_a_server_that_ignores_ranges_starts_afresh(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    part_of(tmp_path).write_bytes(ARCHIVE[:70_000])
    assert_complete(tmp_path, fetch("plain"))
    assert asked == [("/plain", "bytes=70000-")]


def test_a_partial_file_too_long_is_dropped(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    part_of(tmp_path).write_bytes(b"x" * (len(ARCHIVE) + 5))
    assert_complete(tmp_path, fetch("good"))
    assert [asked_range for _, asked_range in asked] == [f"bytes={len(ARCHIVE) + 5}-", None]


def test_a_complete_partial_file_needs_no_network(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    part_of(tmp_path).write_bytes(ARCHIVE)
    assert_complete(tmp_path, fetch("gone"))
    assert asked == []


def test_a_spoilt_partial_file_is_not_the_mirrors_fault(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    part_of(tmp_path).write_bytes(b"x" * 1000)
    assert_complete(tmp_path, fetch("good"))
    assert [asked_range for _, asked_range in asked] == ["bytes=1000-", None]


def test_a_login_page_does_not_spoil_the_partial_file(fetch: Fetch, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(ARCHIVE[:90_000])
    with pytest.raises(ConnectionError, match="web page in place of the archive"):
        fetch("login")
    assert part_of(tmp_path).read_bytes() == ARCHIVE[:90_000]


def test_an_archive_already_there_is_used(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE)
    assert_complete(tmp_path, fetch("good"))
    part_of(tmp_path).write_bytes(b"left by an earlier attempt")
    fetch("good")
    assert asked == []


def test_an_archive_begun_by_another_program_is_completed(
    fetch: Fetch, tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE[:80_000])
    assert_complete(tmp_path, fetch("good"))
    assert asked == [("/good", "bytes=80000-")]


def test_a_damaged_folder_is_replaced(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / CIFAR10_FOLDER).mkdir()
    (tmp_path / CIFAR10_FOLDER / "data_batch_1").write_bytes(b"half")
    (tmp_path / CIFAR10_FOLDER / "stray").write_bytes(b"")
    folder = fetch("good")
    assert_complete(tmp_path, folder)
    assert [p.name for p in folder.iterdir()] == ["data_batch_1"]


def test_when_all_fail_the_message_tells_all(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError) as caught:
        fetch("gone", "rubbish", "broken", "cut")
    message = str(caught.value)
    for words in (
        "/gone: answered 404",
        "/rubbish: served another file (wrong md5)",
        "/broken: answered 503",
        "/cut: connection cut after 150,000 of",
        "150,000 bytes are kept in " + str(part_of(tmp_path)),
        "AETHERFUSION_DATA",
        CIFAR10_ARCHIVE,
    ):
        assert words in message, f"{words!r} is missing from:\n{message}"
    assert [p.name for p in tmp_path.iterdir()] == [part_of(tmp_path).name]
    # The next run goes on from there.
    assert_complete(tmp_path, fetch("good"))


def test_rubbish_leaves_nothing(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="nothing was kept"):
        fetch("rubbish")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_plainly(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(OSError, match=r"the disk is full.*360 MB.*AETHERFUSION_DATA") as caught:
        fetch("good")
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10_ARCHIVE], "something half-written"


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = make_archive({f"{CIFAR10_FOLDER}/a": b"", "../../evil": b""})
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(evil)
    with pytest.raises(tarfile.FilterError):
        fetch("gone", md5=hashlib.md5(evil).hexdigest())
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10_ARCHIVE]
    assert not (tmp_path.parent / "evil").exists()


def test_no_mirrors() -> None:
    with pytest.raises(ValueError, match="mirrors is empty"):
        download_cifar10("unused", mirrors=())


def test_the_real_mirrors_are_https_and_the_official_one_is_last() -> None:
    assert all(url.startswith("https://") for url in download.CIFAR10_MIRRORS)
    assert download.CIFAR10_MIRRORS[-1].startswith("https://www.cs.toronto.edu/")
    assert len(set(download.CIFAR10_MIRRORS)) == len(download.CIFAR10_MIRRORS) >= 2
    from torchvision.datasets import CIFAR10

    assert (CIFAR10.tgz_md5, CIFAR10.filename, CIFAR10.base_folder) == (
        download.CIFAR10_MD5,
        CIFAR10_ARCHIVE,
        CIFAR10_FOLDER,
    )
