"""Closes files in forks of the user's program: a fork that outlives it would otherwise hold its run's claim."""

import contextlib
import os
import weakref
from typing import Protocol


class ClosedAfterFork(Protocol):
    """A resource that forks must not share, such as a lock or the end of a pipe."""

    def close_after_fork(self) -> None:
        """Close it in a fork, without sending anything."""


_REGISTERED: weakref.WeakSet[ClosedAfterFork] = weakref.WeakSet()
register = _REGISTERED.add
unregister = _REGISTERED.discard


def _close_all() -> None:
    for resource in _REGISTERED:
        with contextlib.suppress(Exception):
            resource.close_after_fork()


os.register_at_fork(after_in_child=_close_all)
