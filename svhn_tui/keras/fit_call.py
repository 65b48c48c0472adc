"""Whether a call of `fit` still runs: one that is interrupted tells no callback, but it leaves its thread's stack."""

import inspect
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Functions that run on while they are on no stack."""


class FitCall(NamedTuple):
    """A running call. Whoever holds it keeps its training data in memory, so let it go when the call is over."""

    thread: int
    frame: FrameType

    @property
    def is_running(self) -> bool:
        """Say whether it is on its thread's stack."""
        return any(frame is self.frame for frame in _stack(sys._current_frames().get(self.thread)))


def current() -> FitCall | None:
    """Return the innermost call of a function `fit` that this one stands in; None in a loop of the user's own."""
    frame = next((frame for frame in _stack(sys._getframe()) if frame.f_code.co_name == "fit"), None)
    if frame is None or frame.f_code.co_flags & SUSPENDED:
        return None
    return FitCall(threading.get_ident(), frame)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames from the innermost on that are Python's."""
    while frame is not None:
        yield frame
        frame = frame.f_back
