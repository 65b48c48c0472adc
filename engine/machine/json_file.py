"""JSON files that the program writes for itself, read as values of a type."""

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.machine.files import MAX_SMALL_BYTES, Folder, write_atomically
from engine.protocol import UNREADABLE

Value = TypeVar("Value")


def decoded(folder: Folder, name: str, kind: type[Value], most: int = MAX_SMALL_BYTES) -> Value:
    """Return the value in a file of at most so many bytes.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError (`UNREADABLE`): it is not JSON of this type.
    """
    return msgspec.json.decode(folder.read(name, most), type=kind)


def read(path: Path, kind: type[Value]) -> Value | None:
    """Return the value in a regular file, which links may lead to; None where there is none, or none of this type."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            text = file.read(MAX_SMALL_BYTES + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
        return msgspec.json.decode(text, type=kind)
    except (OSError, *UNREADABLE):
        return None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file as `open` does, and a pipe without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def write(path: Path, value: object) -> None:
    """Replace a file atomically by a value and a newline.

    Raises:
        OSError: it cannot be written; the old content is intact.
    """
    write_atomically(path, msgspec.json.encode(value) + b"\n")
