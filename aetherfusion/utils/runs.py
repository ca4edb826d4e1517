"""What a training run leaves on disk, so that it can end as if it had never stopped.

Owns: saving and loading the state of a run, the soft landing after Ctrl-C, and what is said then.
Used in lesson 05.
"""

import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from .files import atomic_write

STATE_FILE = "training_state.pt"


def save_state(directory: Path, state: dict[str, Any]) -> None:
    """Writes the state beside the old one and then renames it: there is always a whole one.

    Args:
        directory: made if it is not there.
        state: tensors, numbers, strings, lists and dictionaries of them.

    Raises:
        OSError: if it cannot be written (a full disk, say); the last state is still there.
    """
    try:
        with atomic_write(directory / STATE_FILE) as partial, open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"could not write the training state into {directory}: {error}. "
            "The last state that was written is still good; make room and run the same again."
        ) from error


def check_readable(state: dict[str, Any]) -> None:
    """Finds out now whether `load_state` could read a state like this one.

    Raises:
        ValueError: if it could not; names the part.
    """
    for name, part in state.items():
        buffer = io.BytesIO()
        try:
            torch.save(part, buffer)
            buffer.seek(0)
            torch.load(buffer, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(
                f"the {name} of this run holds something that a checkpoint cannot: tensors and "
                "plain values alone are read again, as anything else would have to be run. Leave "
                "it out, or give no checkpoint_dir"
            ) from error


def plain(value: Any, others: Callable[[Any], Any] = lambda value: value) -> Any:
    """The same, with Python's own numbers in the place of numpy's.

    Args:
        others: what to put in the place of anything that is no tensor and no plain value.
    """
    if isinstance(value, dict):
        return {key: plain(part, others) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part, others) for part in value]
    if isinstance(value, tuple):
        return tuple(plain(part, others) for part in value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    return others(value)


def name_of(thing: Any) -> str:
    """The name of a class or function, or of the class of anything else: no address in memory."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def load_state(directory: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """The last state that was saved, or None if there is none.

    Nothing in the file is executed: torch reads tensors and plain values only.

    Args:
        directory: where the run keeps its state.
        run: what makes a run this one and no other; compared with what was saved.

    Raises:
        ValueError: if the file is damaged, or belongs to another run.
        OSError: if it cannot be read for another reason (a right that is missing, say).
    """
    path = directory / STATE_FILE
    if not path.exists():
        return None
    advice = f"Give another checkpoint_dir, or delete {path} to start afresh."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["run"]
    except (OSError, MemoryError):  # it may be whole
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged or not a training state. {advice}") from error
    different = [
        f"{key} was {saved.get(key)} and is now {value}"
        for key, value in run.items()
        if saved.get(key) != value
    ]
    if different:
        raise ValueError(f"{path} belongs to another run: {'; '.join(different)}. {advice}")
    return state


def epochs_begun(directory: str | Path) -> int | None:
    """Of how many epochs the run is whose state lies in a folder; None if there is none.

    Raises:
        ValueError: if the file is damaged.
    """
    state = load_state(Path(directory), {})
    return None if state is None else int(state["run"]["num_epochs"])


def not_finite(loss: float, step: int, directory: Path | None) -> str:
    """What to say when a loss is no number any more."""
    kept = "The model holds the averaged weights of the steps before"
    if directory is not None:
        kept += f", and {directory} the state"
    return (
        f"the loss or its gradient is not finite at step {step} (loss {loss}). {kept}. "
        "Go on from there with precision='no', or start afresh with a lower learning rate."
    )


def interrupted(done: int, total: int, directory: Path | None) -> str:
    """What to say after Ctrl-C."""
    if directory is None:
        return f"stopped after step {done} of {total}; the model holds the averaged weights so far"
    return f"stopped after step {done} of {total}; run the same again to go on from {directory}"


class Interruption:
    """Within this context Ctrl-C (and SIGTERM) wait until the step at hand is done.

    A second Ctrl-C does not wait. Outside the main thread, where signals cannot be caught, it
    does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
