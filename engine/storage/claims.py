"""Attempts at a run: `attempt` in its folder names the newest, and an older one writes nothing more there.

A worker may continue without its host: its pipe broke, its node lost the network, the host was killed. The host then
gives its runs to another worker, whose attempt has a later name. The old one checks that before it writes a checkpoint
or a result. Locks would be enough on one machine; on network file systems they are unreliable. The file has a constant
length and is changed in place, which other machines see soonest on such a file system.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from engine.machine.files import Folder

FILE = "attempt"
LENGTH = 16
"""Length of an attempt's name, in hexadecimal digits."""
SUPERSEDED = "Another attempt has this run now; what this one did is set aside."


def new_attempt(*run_folders: Path) -> str:
    """Return a name that sorts after all earlier ones, and after those in the folders, even if a clock was set back."""
    return f"{max(time.time_ns(), *(_named(folder) + 1 for folder in run_folders), 0):016x}"


def claim(run_folder: Path, attempt: str) -> None:
    """Record that this attempt has the run, unless a newer one has it. On a full disk nothing is recorded.

    Args:
        run_folder: the run's.
        attempt: its name; an empty one claims nothing.
    """
    if not attempt or is_superseded(run_folder, attempt):
        return
    with suppress(OSError), Folder.at(run_folder) as folder:
        descriptor = folder.open_own(FILE, os.O_WRONLY)
        try:
            os.pwrite(descriptor, attempt.encode(), 0)
        finally:
            os.close(descriptor)


def is_superseded(run_folder: Path, attempt: str) -> bool:
    """Say whether a newer attempt has the run; an attempt without a name is never superseded."""
    return bool(attempt) and _named(run_folder) > int(attempt, 16)


def _named(run_folder: Path) -> int:
    """Return the attempt that the folder names, as a number; 0 where there is none or it cannot be read."""
    with suppress(OSError, ValueError), Folder.at(run_folder) as folder:
        named = folder.read(FILE, LENGTH)
        return int(named, 16) if len(named) == LENGTH else 0
    return 0
