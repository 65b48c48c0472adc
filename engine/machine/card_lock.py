"""One worker a GPU: a lock for each card's UUID, held by the worker for as long as it lives.

The locks lie where all users of a machine see them, and hold no more than the number of the process: two of us, and
two users of svhn-tui, never take the same card. Who has the lock looks at the card again: others may have come first.
"""

import contextlib
import fcntl
import os
import re
import stat
import time
from pathlib import Path

FOLDER_VARIABLE = "SVHN_TUI_LOCKS"
"""Another folder for the locks, for tests."""
TRIES = 5


def folder() -> Path:
    """Return where the locks lie."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "/tmp")


def path_of(uuid: str) -> Path:
    """Return the lock of a card or a slice."""
    return folder() / f"svhn-tui-{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.lock"


def take(uuid: str) -> int | None:
    """Lock a card; return the open file, which holds it until the process ends or starts another program.

    Returns:
        None where another process holds it.

    Raises:
        OSError: the lock cannot be made.
    """
    file = _open(path_of(uuid))
    if not _is_locked(file):
        os.close(file)
        return None
    with contextlib.suppress(OSError):  # another user's file: locked all the same
        own = os.open(path_of(uuid), os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        os.write(own, f"{os.getpid()}\n".encode())
        os.close(own)
    return file


def holder(uuid: str) -> int | None:
    """Return the process that holds a card's lock, 0 where its number is not known; None where nobody holds it."""
    try:
        file = os.open(path_of(uuid), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(file, 20).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)
    return None


def _is_locked(file: int) -> bool:
    """Lock it; tried again, since `holder` holds it for an instant to see whether somebody does."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _open(path: Path) -> int:
    """Open a lock that anyone may have made, for reading: that is enough to hold it.

    Raises:
        OSError: there is something else of that name, or no place for it.
    """
    for _ in range(3):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.fchmod(new, 0o644)  # whatever the umask: others have to read it to see that it is held
                os.close(new)
            continue
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
        break
    raise OSError(f"{path} is no lock of svhn-tui; remove it.")
