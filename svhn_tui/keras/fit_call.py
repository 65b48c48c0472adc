"""Whether a call of `fit` still runs: an interrupted one calls no callback, but it leaves its thread's stack."""

import inspect
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Kinds of functions that can be running while they are on no stack."""


class FitCall(NamedTuple):
    """A running call. A reference to it keeps its training data in memory: drop it when the call is over."""

    thread: int
    frame: FrameType

    @property
    def is_running(self) -> bool:
        """Say whether it is on its thread's stack."""
        return any(frame is self.frame for frame in _stack(sys._current_frames().get(self.thread)))


def current() -> FitCall | None:
    """Return the innermost call of a function `fit` on the caller's stack; None in a user's own training loop."""
    frame = next((frame for frame in _stack(sys._getframe()) if frame.f_code.co_name == "fit"), None)
    if frame is None or frame.f_code.co_flags & SUSPENDED:
        return None
    return FitCall(threading.get_ident(), frame)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the Python frames from the innermost outwards."""
    while frame is not None:
        yield frame
        frame = frame.f_back
