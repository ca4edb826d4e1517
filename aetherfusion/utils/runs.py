"""A training run on disk, which can be killed at any moment and resumed. Lesson 05 uses it.

The folder holds `training_state.pt`, `training_state.previous.pt` (the state before that),
`run.lock`, and `run.json`: what the run is and who is working on it, for people to read.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import reprlib
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from .files import atomic_write
from .hardware import num_processes, rank

STATE_FILE, PREVIOUS_FILE, RUN_FILE = "training_state.pt", "training_state.previous.pt", "run.json"
SAVE_SECONDS = 60.0  # a power cut costs at most this much work


class RunState:
    """Saves and restores anything that has a `state_dict`, in a folder (None for nowhere).

    `record` holds the settings that make this run this one and no other; they are compared on
    loading. States are written every so many steps and every minute.
    """

    def __init__(
        self, folder: str | Path | None, record: dict[str, Any], *, every: int = 500, **parts: Any
    ) -> None:
        self.folder, self.used = Path(folder or "").absolute(), folder is not None
        self.record = json.loads(json.dumps(record, default=_as_json))
        self.every, self.parts = every, parts
        self.owner = {"host": platform.node(), "process": os.getpid(), "since": time.time()}
        options: Any = {"timeout": 0, "thread_local": False, "is_singleton": True}
        self.lock = FileLock(self.folder / "run.lock", **options)  # one in a process
        self.saved, self.saved_at, self.consistent = 0, time.monotonic(), True

    def load(self) -> int:
        """Puts a saved state into the parts; returns the number of steps done, 0 without one."""
        found: list[Any] = [None]
        if self.used and rank() == 0:
            try:
                found = [self._open()]
            except (ValueError, OSError, MemoryError) as error:
                self.lock.release()
                found = [error]
        if self.used and num_processes() > 1:  # the others may not have this disk
            dist.broadcast_object_list(found)
        if isinstance(state := found[0], Exception):
            raise state
        for name, part in self.parts.items() if state else ():
            if state[name]:  # the state of a gradient scaler that is off is empty
                part.load_state_dict(state[name])
        self.saved = state["done"] if state else 0
        return self.saved

    def _open(self) -> dict[str, Any] | None:
        """Claims the folder and reads the state in it, if it is one of this run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire()
        except Timeout:
            host, process = (self._owner().get(name) for name in ("host", "process"))
            in_use = f"{self.folder} is in use by process {process} on {host}; use another one"
            raise ValueError(in_use) from None
        except (NotImplementedError, OSError):
            pass  # some network disks have no locks
        state = read_state(self.folder)
        before = self.record if state is None else json.loads(state["record"])
        different = [
            f"{key} was {reprlib.repr(before.get(key))} and is now {reprlib.repr(value)}"
            for key, value in self.record.items()
            if before.get(key) != value
        ]
        if different:
            another = f"{self.folder} belongs to another run: {'; '.join(different)}"
            raise ValueError(f"{another}. Use another checkpoint_dir or the old settings")
        if state and state["path"].name == PREVIOUS_FILE:  # the one after it is damaged
            os.replace(state["path"], self.folder / STATE_FILE)
        with atomic_write(self.folder / RUN_FILE) as partial:
            partial.write_text(json.dumps({"owner": self.owner, "run": self.record}, indent=1))
        return state

    def _owner(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / RUN_FILE).read_text())["owner"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Around what turns one step into the next: all of it happens, or it is never saved."""
        with stop_signals():
            self.consistent = False
            yield
            self.consistent = True

    def save_if_due(self, done: int) -> None:
        """Saves after so many steps, and when the last state is a minute old."""
        if done % self.every == 0 or time.monotonic() - self.saved_at > SAVE_SECONDS:
            self.save(done)

    def save(self, done: int) -> None:
        """Writes the state and keeps the one before; an OSError says which state is left."""
        if not (self.used and rank() == 0 and self.consistent) or done == self.saved:
            return
        if self._owner() not in ({}, self.owner):
            return  # this process has begun the run again
        path, buffer = self.folder / STATE_FILE, io.BytesIO()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"record": json.dumps(self.record), "done": done, **state}, buffer)
        try:
            with atomic_write(path) as partial:
                partial.write_bytes(with_checksum(buffer.getvalue()))
                if path.exists():
                    os.replace(path, self.folder / PREVIOUS_FILE)
        except OSError as error:
            self.consistent = False  # do not try again at the end
            kept = f"state of step {self.saved} is kept" if self.saved else "no state was saved"
            raise OSError(error.errno, f"{error.strerror} ({kept})") from error
        self.saved, self.saved_at = done, time.monotonic()

    def close(self, done: int) -> None:
        """Saves what is not saved yet and frees the folder."""
        with stop_signals():
            try:
                self.save(done)
            finally:
                self.lock.release()


def with_checksum(archive: bytes) -> bytes:
    """A file of `torch.save`, a zip archive, with its SHA-256 as the comment of the archive."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + len(digest).to_bytes(2, "little") + digest


def read_state(folder: str | Path) -> dict[str, Any] | None:
    """The last intact state in a folder, None without any; nothing in it is executed."""
    paths = [path for name in (STATE_FILE, PREVIOUS_FILE) if (path := Path(folder, name)).exists()]
    for path in paths:
        content = path.read_bytes()
        archive = content[:-66] + bytes(2)
        if content != with_checksum(archive):
            warnings.warn(f"{path} is damaged, or was written by an older version", stacklevel=2)
            continue
        try:
            state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
            return {**state, "path": path}
        except RuntimeError as error:  # how torch says that the memory is full
            raise MemoryError(f"not enough memory to read {path}, which is intact") from error
    if paths:
        raise ValueError(f"{paths[0]} is damaged, or of an older version; use another folder")
    return None


def _as_json(value: Any) -> Any:
    """Numbers of numpy and torch as they are, other objects by their own name or their class's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "name", None) or getattr(value, "__qualname__", type(value).__qualname__)


def interrupt(number: int, _: Any) -> None:
    """A handler of signals that acts as Ctrl-C does."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def stop_signals(handler: Callable[[int, Any], None] | None = None) -> Iterator[None]:
    """Within it, requests to stop wait for its end; or those that would kill call `handler`."""
    caught: list[int] = []
    before: dict[int, Any] = {}
    names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU"]  # Windows lacks some
    for name in names if handler else [*names, "SIGCHLD"]:  # torch's, when a worker has died
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            number = getattr(signal, name)  # only the main thread may set handlers
            present = signal.getsignal(number)
            if present is signal.SIG_DFL or (callable(present) and handler is None):
                before[number] = signal.signal(number, handler or (lambda n, _: caught.append(n)))
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)
