"""Files that are whole or not there: written beside their place, synced, then moved into it."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
DAMAGED = ".damaged-"
"""Follows the name of what was set aside."""


def make_folder(path: Path) -> Path:
    """Make a folder that only the user can read, and those above it that are missing."""
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file by this content: afterwards, and after a power cut, the old or the new is there whole.

    Raises:
        OSError: it could not be written; the old content is as it was and nothing else is left behind.
    """
    write_atomically_with(path, lambda file: file.write(content))


def write_atomically_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace the file by what `write` puts into the open file it is given.

    Raises:
        OSError: as `write_atomically`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish(temporary: Path, path: Path) -> None:
    """Move a finished file of the same folder into its place, so that a power cut leaves the old or the new one."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that nothing overwrites it; return its new name, `NAME.damaged-N`."""
    for number in range(1, 10_000):
        aside = path.with_name(f"{path.name}{DAMAGED}{number}")
        if not aside.exists():
            path.rename(aside)
            return aside
    raise FileExistsError(f"{path.parent}: ten thousand damaged {path.name}; remove some.")
