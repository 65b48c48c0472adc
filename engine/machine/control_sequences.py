"""Escape sequences and control characters, which a terminal would obey. Pure."""

import re

_CONTROLS = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]"
)
"""Escape sequences and control characters, but for tab and newline."""


def without_controls(content: bytes) -> bytes:
    """Strip what a terminal would obey from what goes into a log.

    What comes through a pipe of ours is stripped as it is appended, what our processes print by `clean_log`. What
    libraries write straight into file descriptor 2 is not: whatever shows a log strips it then.
    """
    return _CONTROLS.sub(b"", content)
