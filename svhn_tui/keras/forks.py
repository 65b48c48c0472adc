"""What forks of the user's program must not hold: one that outlives the program would keep its run in training."""

import contextlib
import os
import weakref
from typing import Protocol


class Held(Protocol):
    """Something of the program's alone, such as a lock or the end of a pipe."""

    def close_in_fork(self) -> None:
        """Close it in a fork, without a word to the other side."""


_HELD: weakref.WeakSet[Held] = weakref.WeakSet()
keep_from_forks = _HELD.add
give_up = _HELD.discard


def _close_all() -> None:
    for held in _HELD:
        with contextlib.suppress(Exception):
            held.close_in_fork()


os.register_at_fork(after_in_child=_close_all)
