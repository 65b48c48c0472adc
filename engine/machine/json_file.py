"""JSON files that the program writes for itself, read as values of a type."""

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
    """Return the value in a file; None where it is missing, cannot be read, or is not JSON of this type."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, *UNREADABLE):
        return None


def write(path: Path, value: object) -> None:
    """Replace a file atomically by a value and a newline.

    Raises:
        OSError: it cannot be written; the old content is intact.
    """
    write_atomically(path, msgspec.json.encode(value) + b"\n")
