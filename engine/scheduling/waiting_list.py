"""The ordered list of runs that wait. Pure.

What happens for every run of a sweep (join, come next, leave, return to the head) takes the same time however long
the row is; what only a user asks for (move, hold) goes through all of it once.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice, takewhile

import msgspec

from engine.core.spec import Configuration
from engine.protocol import WaitingRun

RunsInOrder = OrderedDict[str, WaitingRun]
"""Waiting runs by run_id. (A dict whose first entries were deleted is searched from its beginning for the next one.)"""


class WaitingList:
    """Waiting runs in their order, each once."""

    def __init__(
        self,
        runs: Iterable[WaitingRun] = (),
        *,
        can_train: Callable[[WaitingRun], bool] = lambda run: True,
        trained_as: Callable[[Configuration, str], Configuration] = lambda configuration, data: configuration,
    ) -> None:
        """List runs.

        Args:
            runs: the first ones.
            can_train: says whether one that is not paused may be trained: is its data open?
            trained_as: returns a configuration, for this data, with the trainer that it needs.
        """
        self._can_train = can_train
        self._trained_as = trained_as
        self._all: RunsInOrder = OrderedDict((run.run_id, run) for run in runs)
        self._ready: RunsInOrder = OrderedDict()
        self._alike: dict[tuple[Configuration, str], RunsInOrder] = {}
        """The runs that are ready, by what a group shares: configuration and data."""
        self.refresh()

    def __iter__(self) -> Iterator[WaitingRun]:
        """Go through all of them, next one first."""
        return iter(self._all.values())

    def __len__(self) -> int:
        """Count all of them."""
        return len(self._all)

    def __contains__(self, run_id: str) -> bool:
        """Say whether a run waits."""
        return run_id in self._all

    @property
    def head(self) -> WaitingRun | None:
        """The run that is to be trained next."""
        return next(iter(self._ready.values()), None)

    def alike(self, head: WaitingRun, most: int) -> tuple[WaitingRun, ...]:
        """Return the first runs that may train together with this one, itself included."""
        return tuple(islice(self.of_kind(head), most))

    def of_kind(self, head: WaitingRun) -> Iterator[WaitingRun]:
        """Go through all that may train together with this one, itself included."""
        return iter(self._alike[_kind(head)].values())

    def trained_as(self, run: WaitingRun) -> Configuration:
        """Return a run's configuration with the trainer that it needs."""
        return self._trained_as(run.spec.configuration, run.spec.data)

    def first_for(self, trainer: str) -> WaitingRun | None:
        """Return the next run for a worker of this kind."""
        return next((run for run in self._ready.values() if self.trained_as(run).training.worker == trainer), None)

    def groups(self, lanes: int, enough: int) -> dict[str, int]:
        """Count the groups that are left for each kind of worker, if so many of its runs train together.

        There may be as many groups as runs: beyond `enough` of them in all it is not counted further.
        """
        counts: Counter[str] = Counter()
        for (configuration, data), alike in self._alike.items():
            if counts.total() >= enough:
                break
            trainer = self._trained_as(configuration, data).training.worker
            counts[trainer] += -(-len(alike) // (lanes if trainer == "fast" else 1))
        return counts

    def join(self, run: WaitingRun) -> None:
        """Add a run at the end."""
        self._put(run, at_end=True)

    def put_back(self, run: WaitingRun) -> int:
        """Insert a run at the head, behind lower seeds of its configuration there; return its index."""
        earlier = takewhile(lambda some: _kind(some) == _kind(run) and some.spec.seed < run.spec.seed, self)
        first = (*earlier, run)
        for some in reversed(first):
            self._put(some, at_end=False)
        return len(first) - 1

    def _put(self, run: WaitingRun, *, at_end: bool) -> None:
        for row in (self._all, *self._rows_of(run)):
            row[run.run_id] = run
            row.move_to_end(run.run_id, last=at_end)

    def _rows_of(self, run: WaitingRun) -> tuple[RunsInOrder, ...]:
        """Return the lists of ready runs that a run belongs to; none if it cannot be trained now."""
        if run.paused or not self._can_train(run):
            return ()
        return self._ready, self._alike.setdefault(_kind(run), OrderedDict())

    def leave(self, runs: Iterable[str]) -> tuple[str, ...]:
        """Remove runs; return those that were waiting."""
        left = tuple(run for run_id in runs if (run := self._all.pop(run_id, None)))
        for run in left:
            if self._ready.pop(run.run_id, None):
                alike = self._alike[_kind(run)]
                del alike[run.run_id]
                if not alike:
                    del self._alike[_kind(run)]
        return tuple(run.run_id for run in left)

    def move(self, runs: Collection[str], index: int) -> tuple[int, tuple[WaitingRun, ...]]:
        """Put runs next to each other, in their order, so that the first has this index; return it and them."""
        chosen = set(runs)
        moved = tuple(run for run in self if run.run_id in chosen)
        others = [run for run in self if run.run_id not in chosen]
        index = max(0, min(index, len(others)))
        self._all = OrderedDict((run.run_id, run) for run in (*others[:index], *moved, *others[index:]))
        self.refresh()
        return index, moved

    def hold(self, runs: Collection[str], *, paused: bool) -> tuple[str, ...]:
        """Pause or release runs without moving them; return those that changed."""
        new = tuple(run_id for run_id in runs if run_id in self._all and self._all[run_id].paused != paused)
        for run_id in new:
            self._all[run_id] = msgspec.structs.replace(self._all[run_id], paused=paused)
        if new:
            self.refresh()
        return new

    def arrange(self, rank: Mapping[str, int]) -> None:
        """Sort by rank; what has none stays behind."""
        ordered = sorted(self, key=lambda run: rank.get(run.run_id, len(rank)))
        self._all = OrderedDict((run.run_id, run) for run in ordered)
        self.refresh()

    def refresh(self) -> None:
        """Determine again which runs can be trained."""
        self._ready, self._alike = OrderedDict(), {}
        for run in self:
            for row in self._rows_of(run):
                row[run.run_id] = run


def _kind(run: WaitingRun) -> tuple[Configuration, str]:
    return run.spec.configuration, run.spec.data
