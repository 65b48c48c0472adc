"""What the end of a log file says: the error with which its process ended."""

import os
import re
from pathlib import Path

from engine.machine import ownership
from engine.machine.control_sequences import without_controls

TAIL_BYTES = 20_000
"""Bytes at the end of a log that are searched for an error."""
MAX_CHARACTERS = 300
"""Of a line; the rest is cut off."""
ERROR_LINE = re.compile(
    r"[\w.]*(Error|Exception|Interrupt|Exit)\b.*|.*\b(error|fatal|abort|cannot|failed)\b.*", re.IGNORECASE
)
"""A line that names an error; other output of libraries is no reason."""


def error_line(log: Path, start: int = 0) -> str:
    """Return the last line of a log that names an error, else its last line; empty where there is none.

    Args:
        log: the file.
        start: offset in bytes; only what was written from there on counts.
    """
    try:
        with os.fdopen(ownership.open_ours(log, os.O_RDONLY), "rb") as file:
            file.seek(max(start, size_of(log) - TAIL_BYTES))
            content = without_controls(file.read(TAIL_BYTES)).decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip()[:MAX_CHARACTERS].rstrip(".") for line in content.splitlines() if line.strip()]
    return next(filter(ERROR_LINE.fullmatch, reversed(lines)), lines[-1] if lines else "")


def size_of(log: Path) -> int:
    """Return the length of a log in bytes; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0
