"""Ends the process when its terminal is closed, such as by a lost SSH connection."""

import os
import select
import threading

STDIN = 0
GONE = 129
"""Exit code of a program that a hang-up ended: 128 + SIGHUP."""


def leave_with_terminal() -> None:
    """End this process when the other side of its terminal is closed, even where SIGHUP is ignored.

    Textual reads a dead terminal again and again, with all of a core. The screen owns nothing that has to be kept, and
    its bridge ends with it, so there is no use in saying goodbye to a terminal that takes no more bytes.
    """
    threading.Thread(target=_leave_once_gone, daemon=True, name="hang-up").start()


def _leave_once_gone() -> None:
    poll = select.poll()
    poll.register(STDIN, 0)  # a hang-up is told even to those who ask for nothing
    poll.poll()
    os._exit(GONE)
