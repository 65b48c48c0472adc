"""Ends the process when its terminal is closed, such as by a lost SSH connection."""

import os
import select
import threading

STDIN = 0
GONE = 129
"""Exit code of a program that a hang-up ended: 128 + SIGHUP."""


def leave_with_terminal() -> None:
    """End this process when the other side of its terminal is closed, even where SIGHUP is ignored.

    Textual would read the closed terminal in a loop, using a whole core. The screen has no data to save, and its bridge
    ends with it, so the process ends at once.
    """
    threading.Thread(target=_leave_once_gone, daemon=True, name="hang-up").start()


def _leave_once_gone() -> None:
    poll = select.poll()
    poll.register(STDIN, 0)  # a hang-up is reported even if no event is requested
    poll.poll()
    os._exit(GONE)
