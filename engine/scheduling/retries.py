"""Retries of runs whose worker ended without a result, and how many train side by side then. Pure."""

from collections.abc import Mapping

from engine.core.spec import Configuration

DEATHS = 3
"""Times that a run's worker may die before the run gets further than ever; then it counts as failed."""
OUT_OF_MEMORY = 2
"""The same for memory that ran out: such a run is tried once more, with half as many beside it."""


class Retries:
    """Counted since a run last got further."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._furthest: dict[str, int] = {}
        self._lanes: dict[Configuration, int] = {}

    @property
    def lanes(self) -> Mapping[Configuration, int]:
        """How many runs of a configuration fit side by side, where more did not."""
        return self._lanes

    def got_to(self, run_id: str, epoch: int) -> None:
        """Forget the retries of a run that got further. Epochs that are trained again are no progress: a run whose
        worker dies at every checkpoint must not be tried for ever."""
        if epoch > self._furthest.get(run_id, 0):
            self._furthest[run_id] = epoch
            self._counts.pop(run_id, None)

    def is_tried_again(self, run_id: str, *, out_of_memory: bool) -> bool:
        """Count a setback; say whether the run gets another try."""
        self._counts[run_id] = self._counts.get(run_id, 0) + 1
        return self._counts[run_id] < (OUT_OF_MEMORY if out_of_memory else DEATHS)

    def ran_out(self, configuration: Configuration, lanes: int) -> int:
        """Note that so many runs of a configuration were too many for the memory; return how many to try next."""
        self._lanes[configuration] = max(1, lanes // 2)
        return self._lanes[configuration]

    def make_room(self) -> None:
        """Forget what did not fit: others had the memory, who may be gone by the next try."""
        self._lanes.clear()

    def forget(self, run_id: str) -> None:
        """Begin anew with a run: the user asked for it again."""
        self._counts.pop(run_id, None)
        self._furthest.pop(run_id, None)
