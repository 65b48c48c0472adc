"""How many runs a group has on a GPU, of this machine or another one."""

from collections.abc import Iterable, Mapping

from engine import protocol as p
from engine.core.machine import Card
from engine.scheduling.queue import Queue
from engine.workers.lane_speeds import LaneSpeeds
from engine.workers.process import Worker


class LaneChoice:
    """Knows what waits, and which numbers of lanes proved fastest."""

    def __init__(self, queue: Queue, usual: int) -> None:
        self.speeds = LaneSpeeds(usual)
        self._queue, self._usual = queue, usual

    def on_cards(self, head: p.WaitingRun, cards: Iterable[Card]) -> Mapping[str, int]:
        """Return how many runs like the head these cards are to train side by side, by kind of card."""
        kinds = [card.kind for card in cards]
        return {kind: self._wanted(kind, head, len(kinds)) for kind in set(kinds)}

    def elsewhere(self, worker: Worker, head: p.WaitingRun, size: int, training: int) -> tuple[int, int]:
        """Return how many runs like the head a worker on another machine trains at a time, and its share of new ones.

        Args:
            worker: that is to train them.
            head: the first of them.
            size: of the fleet, in workers.
            training: workers of it that train now.
        """
        if not worker.has_gpu or worker.slot.trainer != "fast":
            return 1, 1
        lanes = self._wanted(worker.kind_of_gpu, head, size)
        lanes = min(lanes, self._queue.retries.lanes.get(head.spec.configuration, lanes))
        if lanes <= self._usual:
            return lanes, lanes
        free = max(1, size - training)
        alike = len(self._queue.waiting.alike(head, lanes * free))
        return lanes, max(self._usual, -(-alike // free))

    def _wanted(self, kind: str, head: p.WaitingRun, cards: int) -> int:
        """Return the same for so many cards of a kind. A group that has begun continues with the lanes that it had."""
        if head.run_id in self._queue.groups:
            return self.speeds.most
        waiting = len(self._queue.waiting.alike(head, self.speeds.most * cards)) // cards
        return self.speeds.wanted(kind, head.spec.configuration, self._queue.data[head.spec.data], waiting)
