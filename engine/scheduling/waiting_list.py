"""The ordered list of runs that wait. Pure.

What happens for every run of a sweep (join, come next, be taken, return to the head) takes the same time however long
the row is; what only a user asks for (move, hold) goes through all of it once.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice, takewhile

import msgspec

from engine.core.spec import Configuration
from engine.protocol import WaitingRun

Row = OrderedDict[str, WaitingRun]
"""Waiting runs by run_id. (A dict whose first entries were deleted is searched from its beginning for the next one.)"""


class WaitingList:
    """Waiting runs in their order, each once."""

    def __init__(
        self, places: Iterable[WaitingRun] = (), *, can_train: Callable[[WaitingRun], bool] = lambda place: True
    ) -> None:
        """Put places in a row; `can_train` says whether a run that is not paused may be taken: is its data open?"""
        self._can_train = can_train
        self._all: Row = OrderedDict((place.run_id, place) for place in places)
        self._ready: Row = OrderedDict()
        self._alike: dict[tuple[Configuration, str], Row] = {}
        """Those that are ready, by what may train in one group: network, settings and data."""
        self.refresh()

    def __iter__(self) -> Iterator[WaitingRun]:
        """Go through all of them, next one first."""
        return iter(self._all.values())

    def __len__(self) -> int:
        """Count all of them."""
        return len(self._all)

    def __contains__(self, run_id: str) -> bool:
        """Say whether a run has a place."""
        return run_id in self._all

    @property
    def head(self) -> WaitingRun | None:
        """What is to be taken next."""
        return next(iter(self._ready.values()), None)

    def alike(self, head: WaitingRun, most: int) -> tuple[WaitingRun, ...]:
        """Return the first places that may train together with this one, itself included."""
        return tuple(islice(self.of_kind(head), most))

    def of_kind(self, head: WaitingRun) -> Iterator[WaitingRun]:
        """Go through all that may train together with this one, itself included."""
        return iter(self._alike[_kind(head)].values())

    def first_for(self, trainer: str) -> WaitingRun | None:
        """Return what a worker of this kind is to take next."""
        return next(
            (place for place in self._ready.values() if place.spec.configuration.training.worker == trainer), None
        )

    def groups(self, lanes: int, enough: int) -> dict[str, int]:
        """Count the groups that are left for each kind of worker, if so many of its runs train together.

        There may be as many groups as runs: beyond `enough` of them in all it is not counted further.
        """
        found: Counter[str] = Counter()
        for (configuration, _), alike in self._alike.items():
            if found.total() >= enough:
                break
            trainer = configuration.training.worker
            found[trainer] += -(-len(alike) // (lanes if trainer == "fast" else 1))
        return found

    def join(self, place: WaitingRun) -> None:
        """Put a place at the end."""
        self._put(place, at_end=True)

    def put_back(self, place: WaitingRun) -> int:
        """Put a place at the head, but behind earlier seeds of its kind there; return its index."""
        earlier = takewhile(lambda some: _kind(some) == _kind(place) and some.spec.seed < place.spec.seed, self)
        places = (*earlier, place)
        for some in reversed(places):
            self._put(some, at_end=False)
        return len(places) - 1

    def _put(self, place: WaitingRun, *, at_end: bool) -> None:
        rows = [self._all]
        if not place.paused and self._can_train(place):
            rows += [self._ready, self._alike.setdefault(_kind(place), OrderedDict())]
        for row in rows:
            row[place.run_id] = place
            row.move_to_end(place.run_id, last=at_end)

    def leave(self, runs: Iterable[str]) -> tuple[str, ...]:
        """Take runs out; return those that had a place."""
        found = tuple(place for run_id in runs if (place := self._all.pop(run_id, None)))
        for place in found:
            if self._ready.pop(place.run_id, None):
                alike = self._alike[_kind(place)]
                del alike[place.run_id]
                if not alike:
                    del self._alike[_kind(place)]
        return tuple(place.run_id for place in found)

    def move(self, runs: Collection[str], index: int) -> tuple[int, tuple[WaitingRun, ...]]:
        """Put runs next to each other, in their order, so that the first has this index; return it and their places."""
        chosen = set(runs)
        moved = tuple(place for place in self if place.run_id in chosen)
        others = [place for place in self if place.run_id not in chosen]
        index = max(0, min(index, len(others)))
        self._all = OrderedDict((place.run_id, place) for place in (*others[:index], *moved, *others[index:]))
        self.refresh()
        return index, moved

    def hold(self, runs: Collection[str], *, paused: bool) -> tuple[str, ...]:
        """Pause or release runs in their places; return those that changed."""
        new = tuple(run_id for run_id in runs if run_id in self._all and self._all[run_id].paused != paused)
        for run_id in new:
            self._all[run_id] = msgspec.structs.replace(self._all[run_id], paused=paused)
        if new:
            self.refresh()
        return new

    def arrange(self, rank: Mapping[str, int]) -> None:
        """Sort by rank; what has none stays behind."""
        ordered = sorted(self, key=lambda place: rank.get(place.run_id, len(rank)))
        self._all = OrderedDict((place.run_id, place) for place in ordered)
        self.refresh()

    def refresh(self) -> None:
        """Find out anew what can be trained."""
        self._ready, self._alike = OrderedDict(), {}
        for place in self:
            if not place.paused and self._can_train(place):
                self._ready[place.run_id] = place
                self._alike.setdefault(_kind(place), OrderedDict())[place.run_id] = place


def _kind(place: WaitingRun) -> tuple[Configuration, str]:
    return place.spec.configuration, place.spec.data
