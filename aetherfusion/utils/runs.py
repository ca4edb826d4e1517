"""A training run on disk: it can be killed at any moment and ends as if it had never stopped.

Lesson 05 uses `RunState`. Its folder holds `training_state.pt`, `training_state.previous.pt` (the
state before that), and `run.json`: what the run is and who is working on it, for people to read.
"""

import contextlib
import hashlib
import io
import json
import os
import pickle
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

from .files import atomic_write, check_writable
from .hardware import num_processes, rank

STATE_FILE, PREVIOUS_FILE = "training_state.pt", "training_state.previous.pt"
RUN_FILE = "run.json"
SAVE_SECONDS = 60.0  # a power cut costs at most this much work


class RunState:
    """Saves and restores anything that has a `state_dict`.

    >>> state = RunState("runs/mine", {"seed": 0}, model=model, optimizer=optimizer)
    >>> done = state.load()
    >>> state.save(done + 1)

    Args:
        folder: where the files are kept; None for nowhere.
        record: the settings that make this run this one and no other; compared on loading.
        every: steps between two states; one is also written every minute.
        **parts: objects with `state_dict` and `load_state_dict`.
    """

    def __init__(
        self, folder: str | Path | None, record: dict[str, Any], *, every: int = 500, **parts: Any
    ) -> None:
        self.folder = Path(folder or "")
        self.used, self.writes = folder is not None, folder is not None and rank() == 0
        self.record = json.loads(json.dumps(record, default=_as_json))
        self.every, self.parts = every, parts
        self.owner = {"host": platform.node(), "process": os.getpid(), "since": time.time()}
        self.lock = FileLock(self.folder / "run.lock", timeout=0)
        self.saved, self.saved_at, self.consistent = 0, time.monotonic(), True

    def load(self) -> int:
        """Puts the saved state into the parts and returns the number of steps done, 0 if none.

        Nothing in the file is executed: torch reads tensors and plain values only.

        Raises:
            ValueError: if the state is damaged or of another run, or if the folder is in use.
            OSError, MemoryError: if it cannot be read or written for another reason.
        """
        found: list[Any] = [None]
        if self.writes:
            try:
                found = [self._open()]
            except (ValueError, OSError, MemoryError) as error:
                found = [error]
        if num_processes() > 1 and self.used:  # the others may not have this disk
            dist.broadcast_object_list(found)
        if isinstance(found[0], Exception):
            raise found[0]
        if found[0] is not None:
            for name, part in self.parts.items():
                if found[0][name]:  # the state of a gradient scaler that is off is empty
                    part.load_state_dict(found[0][name])
            self.saved = int(found[0]["done"])
        return self.saved

    def _open(self) -> dict[str, Any] | None:
        """Claims the folder and reads the state in it, if it is one of this run."""
        check_writable(self.folder / STATE_FILE)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire()
        except Timeout:
            other = self._owner()
            if (other.get("host"), other.get("process")) != (platform.node(), os.getpid()):
                raise ValueError(
                    f"{self.folder} is in use by process {other.get('process')} on "
                    f"{other.get('host')}; wait for it to end, or use another checkpoint_dir"
                ) from None
        except NotImplementedError:
            pass  # some network disks have no locks
        state = read_state(self.folder)
        before = self.record if state is None else json.loads(state["record"])
        different = [
            f"{key} was {reprlib.repr(before.get(key))} and is now {reprlib.repr(value)}"
            for key, value in self.record.items()
            if before.get(key) != value
        ]
        if different:
            raise ValueError(
                f"{self.folder} belongs to another run: {'; '.join(different)}. "
                "Use another checkpoint_dir, or the same settings as before"
            )
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
        """Around everything that turns one step into the next: all of it happens, or none counts.

        Ctrl-C waits until the end. After an error in here nothing is saved any more.
        """
        self.consistent = False
        with deferred_signals():
            yield
            self.consistent = True

    def save_if_due(self, done: int) -> None:
        """Saves after every so many steps, and when the last state is a minute old."""
        if done % self.every == 0 or time.monotonic() - self.saved_at > SAVE_SECONDS:
            self.save(done)

    def save(self, done: int) -> None:
        """Writes the state; the one before it stays as the previous one.

        Raises:
            OSError: if it cannot be written; says which state is kept.
        """
        if not self.writes or not self.consistent or done == self.saved:
            return
        path, buffer = self.folder / STATE_FILE, io.BytesIO()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"record": json.dumps(self.record), "done": done, **state}, buffer)
        if (owner := self._owner()) and owner != self.owner:
            return  # this process has begun the run again, and that one saves
        try:
            with atomic_write(path) as partial:
                partial.write_bytes(with_checksum(buffer.getvalue()))
                if path.exists():
                    os.replace(path, self.folder / PREVIOUS_FILE)
        except OSError as error:
            self.consistent = False  # do not try again at the end
            kept = f"the state of step {self.saved} is kept" if self.saved else "no state was saved"
            raise OSError(error.errno, f"{error.strerror} ({kept})") from error
        self.saved, self.saved_at = done, time.monotonic()

    def close(self, done: int) -> None:
        """Saves what is not saved yet and frees the folder."""
        with deferred_signals():
            try:
                self.save(done)
            finally:
                self.lock.release()


def with_checksum(archive: bytes) -> bytes:
    """The bytes of `torch.save`, a zip archive, with their SHA-256 as the archive's comment."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + len(digest).to_bytes(2, "little") + digest


def read_state(folder: Path) -> dict[str, Any] | None:
    """The last intact state in a folder, or None if there is none.

    Raises:
        ValueError: if there are states and none is intact.
        OSError, MemoryError: if one cannot be read for another reason.
    """
    damaged = None
    for path in (folder / STATE_FILE, folder / PREVIOUS_FILE):
        if not path.exists():
            continue
        content = path.read_bytes()
        archive = content[:-66] + bytes(2)
        if content[-64:] != hashlib.sha256(archive).hexdigest().encode():
            damaged = damaged or f"{path} is damaged, or was written by an older version"
            continue
        try:
            state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
        except RuntimeError as error:  # how torch says that the memory is full
            raise MemoryError(f"not enough memory to read {path}, which is intact") from error
        except pickle.UnpicklingError as error:  # more than tensors and plain values
            raise ValueError(f"{path} is not a training state of ours") from error
        if damaged:
            warnings.warn(f"{damaged}; the run goes on from the state before", stacklevel=2)
        return state
    if damaged:
        raise ValueError(f"{damaged}. Use another checkpoint_dir")
    return None


def planned_steps(folder: str | Path) -> int | None:
    """How many steps the run in a folder was planned for; None if there is no state in it."""
    state = read_state(Path(folder))
    return None if state is None else int(json.loads(state["record"])["total_steps"])


def _as_json(value: Any) -> Any:
    """Numbers of numpy and torch as they are, other objects by their own name or their class's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "name", None) or getattr(value, "__qualname__", type(value).__qualname__)


@contextlib.contextmanager
def _handled(handler: Callable[[int, Any], None], *, defaults_only: bool) -> Iterator[None]:
    """Within it, requests to stop (Windows lacks some of them) call `handler`."""
    before: dict[int, Any] = {}
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    in_main_thread = threading.current_thread() is threading.main_thread()
    for number in numbers if in_main_thread else ():  # others may set no handlers
        present = signal.getsignal(number)
        if present is signal.SIG_DFL or (callable(present) and not defaults_only):
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Within it, Ctrl-C and other requests to stop wait; they take effect when it ends."""
    caught: list[int] = []
    try:
        with _handled(lambda number, _: caught.append(number), defaults_only=False):
            yield
    finally:
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)


def _stop(number: int, _: Any) -> None:
    raise KeyboardInterrupt


def stop_requests() -> contextlib.AbstractContextManager[None]:
    """Within it, a closed terminal and a scheduler's signals raise KeyboardInterrupt, as Ctrl-C."""
    return _handled(_stop, defaults_only=True)
