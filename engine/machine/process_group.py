"""Ends the processes that a child process leaves behind, such as those that a user's model file starts in it.

The child leads a process group (`start_new_session`). A process that outlived it would occupy memory and keep the
child's pipes open, so that their readers would wait for ever.
"""

import contextlib
import os
import signal
import sys
import threading
import time

POLL_SECONDS = 0.2


def kill(leader: int) -> None:
    """Kill every process of a group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only ended ones are left
        os.killpg(leader, signal.SIGKILL)


def kill_after(leader: int) -> None:
    """Kill what is left of a group as soon as its leader, a child of this process, has ended; return at once."""
    threading.Thread(target=_kill_after, args=(leader,), name=f"end of {leader}", daemon=True).start()


def _kill_after(leader: int) -> None:
    _await_end(leader)
    kill(leader)


def _await_end(child: int) -> None:
    """Wait for a child's end, whose exit code is left to those who started it."""
    if sys.platform != "darwin" or sys.version_info >= (3, 13):
        with contextlib.suppress(ChildProcessError):  # they were faster
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        return
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(child)
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
