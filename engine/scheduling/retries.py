"""Retries of runs whose worker ended without a result, and how many train side by side then. Pure."""

from collections.abc import Mapping

from engine.core.spec import Configuration

DEATHS = 3
"""Deaths of a run's workers without progress after which the run has failed."""
OUT_OF_MEMORY = 2
"""The same where memory ran out: such a run is tried once more, with half as many lanes."""


class Retries:
    """Failures of each run since its last progress, and how many lanes of a configuration fit."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._furthest: dict[str, int] = {}
        self._lanes: dict[Configuration, int] = {}

    @property
    def lanes(self) -> Mapping[Configuration, int]:
        """Number of runs of a configuration that fit side by side, where more did not."""
        return self._lanes

    def got_to(self, run_id: str, epoch: int) -> None:
        """Forget the retries of a run that made progress. Epochs that are trained again are none: a run whose
        worker dies at every checkpoint must not be tried for ever."""
        if epoch > self._furthest.get(run_id, 0):
            self._furthest[run_id] = epoch
            self._counts.pop(run_id, None)

    def is_tried_again(self, run_id: str, *, out_of_memory: bool) -> bool:
        """Count a failure; say whether the run is tried again."""
        self._counts[run_id] = self._counts.get(run_id, 0) + 1
        return self._counts[run_id] < (OUT_OF_MEMORY if out_of_memory else DEATHS)

    def ran_out(self, configuration: Configuration, lanes: int) -> int:
        """Record that so many runs of a configuration did not fit into memory; return how many to try next."""
        self._lanes[configuration] = max(1, lanes // 2)
        return self._lanes[configuration]

    def make_room(self) -> None:
        """Forget which numbers of lanes did not fit: other processes used the memory, and may end."""
        self._lanes.clear()

    def forget(self, run_id: str) -> None:
        """Forget a run's failures: the user asked for it again."""
        self._counts.pop(run_id, None)
        self._furthest.pop(run_id, None)
