"""Files are complete or absent, and a hash notices every change."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from aetherfusion.utils.files import atomic_write, check_writable, content_hash, file_stem


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "loss.json"
    with atomic_write(path) as partial:
        partial.write_text("[]")
        assert partial.suffix == ".json" and partial.parent == path.parent and not path.exists()
    assert path.read_text() == "[]" and os.listdir(path.parent) == ["loss.json"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), OSError("no number")])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "loss.json"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, atomic_write(path) as partial:
        partial.write_text("half")
        raise error
    assert caught.value is error, "the error is somebody else's, so it stays as it is"
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["loss.json"]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text("old")
    for _ in range(2):
        child = os.fork()
        if child == 0:
            with atomic_write(path) as partial:
                partial.write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2, "what killed processes leave must not fill the disk"
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["loss.json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_full_disk_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text("old")
    with pytest.raises(OSError) as caught, atomic_write(path) as partial:
        partial.write_text("half")
        with open("/dev/full", "w") as full:  # every write to it fails, as on a full disk
            full.write("more")
    assert caught.value.errno == errno.ENOSPC
    message = str(caught.value)
    assert f"cannot write {path}: the disk is full" in message and "\n" not in message
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["loss.json"]


def test_what_cannot_be_written_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    for path, words in [
        (tmp_path, "it is not an ordinary file"),
        (tmp_path / "file" / "model.pt", f"{tmp_path}/file: Not a directory"),
        (tmp_path / "link" / "model.pt", f"{tmp_path}/link: No such file or directory"),
    ]:
        with pytest.raises(OSError, match=words):
            check_writable(path)
    check_writable(tmp_path / "new" / "folder" / "model.pt")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"], "asking has made something"


def test_hash_notices_every_change() -> None:
    weights = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    flipped = weights.clone()
    flipped.view(torch.int32)[1, 2] ^= 1  # the last bit of the last number
    values: list[list[object]] = [
        *([weights], [flipped], [weights.reshape(3, 2)], [weights.double()]),
        *([weights.view(torch.int32)], [weights, flipped], [flipped, weights], ["a", weights]),
        *([1], [1.0], ["1"], [True], [None], [], [1, 23], [12, 3], ["1, 2"], ["1", "2"]),
        [torch.ones(0)],
    ]
    hashes = [content_hash(value) for value in values]
    assert len(set(hashes)) == len(values)
    assert all(len(value) == 64 for value in hashes)


def test_hash_is_of_the_values_only() -> None:
    weights = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    transposed = weights.t().contiguous().t()  # the same values in another order of memory
    assert transposed.stride() != weights.stride()
    assert content_hash([transposed.clone().requires_grad_()]) == content_hash([weights])
    line = weights.flatten()
    assert content_hash([line[::2]]) == content_hash([line[::2].clone()])
    assert content_hash([torch.tensor(1.0)]) != content_hash([torch.tensor([1.0])])


def test_names_of_files() -> None:
    assert file_stem("cat, dog/horse") == "cat-dog-horse"
    assert file_stem("../..") == "samples" and file_stem("") == "samples"


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """`-o /dev/stdout` is a habit, and root could replace it; a pipe stands in for it."""
    os.mkfifo(tmp_path / "pipe")
    for write in (check_writable, lambda path: atomic_write(path).__enter__()):
        with pytest.raises(OSError, match="not an ordinary file"):
            write(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
