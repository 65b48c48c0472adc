"""Retries of runs whose worker ended without a result, and how many train side by side then. Pure."""

from collections.abc import Mapping

from engine import protocol as p
from engine.core.spec import Configuration

LOSSES = 3
"""Number of workers that may end with a run, without progress between, before it has failed."""
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

    def record_progress(self, run_id: str, epoch: int) -> None:
        """Forget the retries of a run that made progress.

        Epochs that are trained again do not count: a run whose worker dies at every checkpoint must not be tried for
        ever.
        """
        if epoch > self._furthest.get(run_id, 0):
            self._furthest[run_id] = epoch
            self._counts.pop(run_id, None)

    def after_loss(
        self, run: p.WaitingRun, reason: str, lanes: int, *, out_of_memory: bool, is_leaving: bool
    ) -> p.RunFailed | p.RunInterrupted:
        """Return what happens to a run that a worker lost: it is tried again, or has failed after repeated losses.

        Args:
            run: the run.
            reason: why it was lost, in a sentence.
            lanes: number of runs that trained side by side.
            out_of_memory: there were too many of them for the memory.
            is_leaving: the host ends, which fails no run.
        """
        again = self.is_tried_again(run.run_id, out_of_memory=out_of_memory) or is_leaving
        again = again or (out_of_memory and lanes > 1)  # half as many, which has an end
        if out_of_memory:
            fewer = self.ran_out(run.spec.configuration, lanes)
            beside = f", {fewer} at a time instead of {lanes}" if lanes > 1 else ""
            reason += f" It is tried once more{beside}." if again else " Another try failed too; free some memory."
        if again:
            return p.RunInterrupted(run_id=run.run_id, reason=reason)
        return p.RunFailed(run_id=run.run_id, reason=reason, out_of_memory=out_of_memory)

    def is_tried_again(self, run_id: str, *, out_of_memory: bool) -> bool:
        """Count a failure; say whether the run is tried again."""
        self._counts[run_id] = self._counts.get(run_id, 0) + 1
        return self._counts[run_id] < (OUT_OF_MEMORY if out_of_memory else LOSSES)

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
