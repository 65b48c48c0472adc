"""Which attempt a run belongs to: `attempt` in its folder names the newest, and an older one writes nothing more there.

A worker may live on without its host: its pipe broke, its node was cut off, the host was killed. The host then gives
its runs to another worker, whose attempt has a later name. An old one sees that before it writes a checkpoint or a
result. Locks would do on one machine; on network file systems they are not trusted. The file keeps its length and is
changed in place, which such a file system shows soonest.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from engine.files import PRIVATE_FILE

FILE = "attempt"


def new_attempt() -> str:
    """Return a name that sorts after all earlier ones."""
    return f"{time.time_ns():016x}"


def take(run_folder: Path, attempt: str) -> None:
    """Say that the run is this attempt's, unless a newer one has it. A full disk leaves it unsaid.

    Args:
        run_folder: the run's.
        attempt: its name; an empty one claims nothing.
    """
    if not attempt or is_superseded(run_folder, attempt):
        return
    with suppress(OSError):
        descriptor = os.open(run_folder / FILE, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
        try:
            os.pwrite(descriptor, attempt.encode(), 0)
        finally:
            os.close(descriptor)


def is_superseded(run_folder: Path, attempt: str) -> bool:
    """Say whether a newer attempt has the run; one without a name is never asked."""
    named = b""
    if attempt:
        with suppress(OSError):
            named = (run_folder / FILE).read_bytes()
    return len(named) == len(attempt) and named > attempt.encode()
