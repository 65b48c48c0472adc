"""Backoff after a cluster or another machine started no worker. Pure: the caller passes the time."""

import re
from collections.abc import Mapping

NUMBER = re.compile(r"\d+")
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
"""First and longest pause before the next try; each pause is twice as long as the one before."""


class Backoff:
    """Consecutive failures to start workers, by where: `Slurm`, a box, a seat or a card."""

    def __init__(self) -> None:
        self._refusals: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    def refuse(self, where: str, reason: str, now: float) -> tuple[float, bool]:
        """Count a failure; return the seconds until the next try, and whether its reason is new.

        Free memory and process ids change from one try to the next: other numbers make no new reason.
        """
        count = self._refusals[where] = self._refusals.get(where, 0) + 1
        pause = min(FIRST_SECONDS * 2 ** (count - 1), LONGEST_SECONDS)
        self._until[where] = now + pause
        is_new = where not in self._reasons or NUMBER.sub("", self._reasons[where]) != NUMBER.sub("", reason)
        self._reasons[where] = reason
        return pause, is_new

    @property
    def reasons(self) -> Mapping[str, str]:
        """The latest reason of each that started no worker, by name."""
        return self._reasons

    def accept(self, where: str) -> None:
        """Forget the failures of one: a worker has started there."""
        for known in (self._refusals, self._until, self._reasons):
            known.pop(where, None)

    def resting(self, now: float) -> set[str]:
        """Return the names for which no worker is started at this time."""
        return {where for where, until in self._until.items() if now < until}
