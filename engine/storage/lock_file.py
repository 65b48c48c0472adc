"""`host.lock`: locked by a host while it runs; its text says which host that is and where it listens.

Only the lock counts, since the kernel releases it however a host ends; the text is a hint for clients in another
session, on another machine of a shared file system, or with another runtime folder.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine.machine import system
from engine.machine.ownership import open_ours

NAME = "host.lock"
MOST_BYTES = 4096


class Holder(NamedTuple):
    """The host that held the lock last; an empty field or 0 is not known."""

    hostname: str = ""
    boot_id: str = ""
    pid: int = 0
    address: str = ""
    """Its socket; empty until it listens."""

    @property
    def is_elsewhere(self) -> bool:
        """It runs on another machine or in another container, whose socket cannot be reached from here."""
        here = (system.host_name(), system.boot_id())
        return any(ours and theirs and ours != theirs for ours, theirs in zip(here, self[:2], strict=True))


def hold(root: Path) -> int:
    """Return a descriptor that holds the workspace's lock until it is closed.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened, or its file system has no locks.
    """
    lock = open_ours(root / NAME, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        error.filename = error.filename or str(root / NAME)
        raise
    return lock


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the workspace as a host does.

    Raises:
        BlockingIOError: a host holds it.
    """
    lock = hold(root)
    try:
        yield
    finally:
        os.close(lock)


def write(lock: int, address: str) -> None:
    """Write into the held file that this process holds it and where it listens. On a full disk nothing is written.

    It is written in place, since the lock is on this very file; a reader takes the first line, which is whole in it.
    """
    holder = Holder(system.host_name(), system.boot_id(), os.getpid(), address)
    text = json.dumps(holder._asdict()).encode() + b"\n"
    with contextlib.suppress(OSError):
        os.pwrite(lock, text, 0)
        os.ftruncate(lock, len(text))


def read(root: Path) -> Holder:
    """Return the content of the file as far as it is valid; the lock need not be held."""
    try:
        lock = open_ours(root / NAME, os.O_RDONLY)
    except OSError:
        return Holder()
    try:
        text = os.pread(lock, MOST_BYTES, 0).decode(errors="replace")
    finally:
        os.close(lock)
    if text.startswith("/"):
        return Holder(address=text)  # as the first version of the program wrote it
    with contextlib.suppress(ValueError, RecursionError):
        return _understood(json.loads(text.partition("\n")[0]))
    return Holder()


def is_there(root: Path, lock: int) -> bool:
    """Say whether the held file is still the workspace's: a moved or replaced workspace belongs to another host.

    Where the file system does not answer, it is assumed to be.
    """
    try:
        return os.path.samestat((root / NAME).lstat(), os.fstat(lock))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _understood(content: object) -> Holder:
    if not isinstance(content, dict):
        return Holder()
    right = {name: content[name] for name, kind in Holder.__annotations__.items() if type(content.get(name)) is kind}
    return Holder(**right)
