"""Escape sequences and control characters, which a terminal would execute. Pure."""

import re

_CONTROLS = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]"
)
"""Escape sequences and control characters, but for tab and newline."""


def without_controls(content: bytes) -> bytes:
    """Return bytes without escape sequences and control characters.

    Output that comes through a pipe is stripped before it is appended to a log, that of our own processes by
    `clean_log`. What libraries write into file descriptor 2 directly is stripped where a log is shown.
    """
    return _CONTROLS.sub(b"", content)
