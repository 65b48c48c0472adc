"""The latest notices that the program showed."""

import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from textual.notifications import SeverityLevel

MAX_NOTICES = 100


class LoggedNotice(NamedTuple):
    """A notice, and when it was shown."""

    at: float
    """Seconds since 1970."""
    severity: SeverityLevel
    text: str


class NoticeLog:
    """The latest notices, for users who did not see them while they were shown."""

    def __init__(self) -> None:
        self._notices: deque[LoggedNotice] = deque(maxlen=MAX_NOTICES)

    def add(self, text: str, severity: SeverityLevel) -> None:
        """Store a notice that is shown now."""
        self._notices.append(LoggedNotice(time.time(), severity, text))

    def __len__(self) -> int:
        return len(self._notices)

    def __iter__(self) -> Iterator[LoggedNotice]:
        """All stored notices, the oldest first."""
        return iter(self._notices)
