"""Work that goes on while the page stays alive.

Owns: `Background` and `Stopped`. Behind the widgets.
A front end can tell a kernel that Stop was pressed only while the kernel's main thread is free. So
the work runs in a thread of its own and asks now and then whether it shall stop.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

Ended = Callable[[BaseException | None], None]


class Stopped(Exception):
    """Raised inside the work, by `Background.check`, after someone has asked it to stop."""


class Background:
    """One piece of work at a time, which can be asked to stop.

    >>> background = Background()
    >>> background.start(lambda: generate_images(model, callback=background.check), print)
    True

    In Colab the work runs before `start` returns: what a thread tells a widget there is not shown
    (googlecolab/colabtools, issue 3373). To stop it there, interrupt the execution.
    """

    def __init__(self) -> None:
        self.threaded = "google.colab" not in sys.modules
        self._free = threading.Lock()  # held by the one piece of work that there may be
        self._stop = threading.Event()
        # One thread for all of it: memory that a thread has used is seldom given to the next one.
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    @property
    def running(self) -> bool:
        """Whether there is work that has not ended."""
        return self._free.locked()

    def start(self, work: Callable[[], None], ended: Ended) -> bool:
        """Begins the work, unless there is some already.

        Args:
            work: what to do; calls `check` as often as it can be stopped.
            ended: called at the end, with None after all went well, with a `Stopped` or a
                KeyboardInterrupt after a stop, else with the error.

        Returns:
            whether it began.
        """
        if not self._free.acquire(blocking=False):
            return False
        self._stop.clear()
        if self.threaded:
            self._last = self._pool.submit(self._do, work, ended)
            self._last.add_done_callback(Future.result)  # an error in `ended` shall be heard of
        else:
            self._do(work, ended)
        return True

    def _do(self, work: Callable[[], None], ended: Ended) -> None:
        error: BaseException | None = None
        try:
            work()
        except (Exception, KeyboardInterrupt) as caught:
            # The frames of the traceback hold the pictures and the model: let them go.
            error = caught.with_traceback(None)
        try:
            ended(error)
        finally:
            self._free.release()

    def stop(self) -> None:
        """Asks the work to stop; it does when it next calls `check`."""
        self._stop.set()

    def check(self, _: object = None) -> None:
        """Raises `Stopped` if the work shall stop; can be handed to a sampler as its callback."""
        if self._stop.is_set():
            raise Stopped

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the work to end, at most `timeout` seconds; returns whether it has."""
        if self._last is not None:
            wait([self._last], timeout)
        return not self.running
