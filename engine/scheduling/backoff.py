"""Backoff after a cluster or another machine started no worker. Pure: the caller passes the time."""

from collections.abc import Mapping

FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
"""Before it is tried again; twice as long each time."""


class Backoff:
    """Refusals in a row of `Slurm` and of each box in which workers are started."""

    def __init__(self) -> None:
        self._refusals: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    def refuse(self, where: str, reason: str, now: float) -> tuple[float, bool]:
        """Count a refusal; return the seconds until the next try, and whether its reason is news to the user."""
        count = self._refusals[where] = self._refusals.get(where, 0) + 1
        pause = min(FIRST_SECONDS * 2 ** (count - 1), LONGEST_SECONDS)
        self._until[where] = now + pause
        is_news = self._reasons.get(where) != reason
        self._reasons[where] = reason
        return pause, is_news

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why those that were tried last started no worker, by name."""
        return self._reasons

    def accept(self, where: str) -> None:
        """Forget the refusals of one: a worker has started there."""
        for known in (self._refusals, self._until, self._reasons):
            known.pop(where, None)

    def resting(self, now: float) -> set[str]:
        """Return those in which no worker is started at this time."""
        return {where for where, until in self._until.items() if now < until}
