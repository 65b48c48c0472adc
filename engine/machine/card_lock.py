"""Locks that give each GPU to one host at a time: a file for each card's UUID, locked while a worker of it lives.

The files are where all users of a machine can open them, and hold two process ids, the first worker's and the host's:
two hosts, or two users of svhn-tui, never use the same card; workers of one host may share it. A worker that has the
lock checks the card again, since other programs may use it. A second file for each card, the gate, is locked while its
lock is acquired or read, so that no process sees a half-finished step.
"""

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER_VARIABLE = "SVHN_TUI_LOCKS"
"""Another folder for the locks, for tests."""
GATE_SECONDS = 5.0
"""Time limit for the gate: a lock is acquired in microseconds, unless a process was suspended meanwhile."""


def folder() -> Path:
    """Return the folder of the locks."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "/tmp")


def path_of(uuid: str) -> Path:
    """Return the lock of a card or a slice."""
    return folder() / f"svhn-tui-{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.lock"


def acquire(uuid: str, host: str = "") -> int | None:
    """Lock a card; return the open file, which holds it until the process ends or starts another program.

    Args:
        uuid: the card's or slice's.
        host: the host of this worker: the workers of one host share the lock.

    Returns:
        None where a process of another host holds it.

    Raises:
        OSError: the lock cannot be made.
    """
    path = path_of(uuid)
    with _gate(path) as is_open:
        file = _open(path) if is_open else -1
        if file >= 0 and _try(file, fcntl.LOCK_EX):
            with contextlib.suppress(OSError):  # another user's file: locked all the same
                own = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
                os.write(own, f"{os.getpid()} {host}\n".encode())
                os.close(own)
            fcntl.flock(file, fcntl.LOCK_SH)
            return file
        if file >= 0 and host and _is_another(_text(file), host) and _try(file, fcntl.LOCK_SH):
            return file
        if file >= 0:
            os.close(file)
        return None


def holder(uuid: str) -> int | None:
    """Return the process that locked a card first, 0 where its id is not known; None where nobody holds the lock."""
    path = path_of(uuid)
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        with contextlib.suppress(OSError), _gate(path) as is_open:
            if is_open and _try(file, fcntl.LOCK_EX):
                return None
        words = _text(file)
        return int(words[0]) if words and words[0].isdigit() else 0
    finally:
        os.close(file)


def is_joined(uuid: str, host: str) -> bool:
    """Say whether another worker of the same host acquired the lock that this process shares."""
    try:
        words = path_of(uuid).read_text(errors="replace").split()
    except OSError:
        return False
    return _is_another(words, host)


@contextlib.contextmanager
def _gate(path: Path) -> Iterator[bool]:
    """Let one process at a time acquire or read a lock; yield whether this one may.

    Raises:
        OSError: the gate cannot be made.
    """
    file, until = _open(path.with_suffix(".gate")), time.monotonic() + GATE_SECONDS
    try:
        while not (is_open := _try(file, fcntl.LOCK_EX)) and time.monotonic() < until:
            time.sleep(0.01)
        yield is_open
    finally:
        os.close(file)


def _try(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_another(words: Sequence[str], host: str) -> bool:
    """Say whether a lock's text names another worker of this host."""
    return list(words[1:]) == [host] and words[0] != str(os.getpid())


def _text(file: int) -> list[str]:
    return os.pread(file, 100, 0).decode(errors="replace").split()


def _open(path: Path) -> int:
    """Open a lock that anyone may have made, for reading: that is enough to hold it.

    Raises:
        OSError: something else has that name, or the file cannot be made.
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
    raise OSError(f"{path} is not a lock of svhn-tui; remove it.")
