"""The queue: what is to be trained, in which order, what is held, and what is known of each run. Knows no worker."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from engine import plan
from engine import protocol as p
from engine.forecast import Measured
from engine.places import Places
from engine.plan import Sweep
from engine.setbacks import Setbacks
from engine.spec import RunSpec
from engine.workspace import Order

PLACES_AT_ONCE = 500
"""Places in one event."""


class Queue:
    """What waits, and what workers took of it. `publish` takes what clients are to hear."""

    def __init__(
        self,
        publish: Callable[[p.AnyEvent], None],
        *,
        results: Mapping[str, p.RunResult] = {},
        data: Mapping[str, p.DataSet] = {},
        held: Mapping[str, str] = {},
    ) -> None:
        self.results = dict(results)
        self.sweeps: dict[str, Sweep] = {}
        self.data = dict(data)
        """Data sets that can be trained on, by fingerprint."""
        self.times = Measured(())
        self.held = dict(held)
        """Runs that are wanted but not to be trained now: `paused`, `cancelled` or `failed`."""
        self.active: dict[str, RunSpec] = {}
        """The runs that workers have."""
        self.histories: dict[str, p.History] = {}
        """Of the active runs, for clients that attach meanwhile."""
        self.started: dict[str, p.RunStarted] = {}
        self.reasons: dict[str, str] = {}
        self.setbacks = Setbacks()
        self.places = Places(can_train=lambda place: place.spec.data in self.data)
        self._publish = publish
        self._accuracies = {run_id: result.test_accuracy for run_id, result in results.items()}
        self._wanted_by: dict[str, str] = {}
        """The sweep that each run which is not finished is first wanted by."""
        self._first_stages: dict[str, set[str]] = {}
        """What the first stage of a sweep lacks; the second one follows when it is empty."""

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Nothing trains and nothing waits to."""
        return not self.active and self.places.head is None

    @property
    def order(self) -> Order:
        """What is kept of the queue beyond what follows from the sweeps."""
        return Order((*self.active, *(place.run_id for place in self.places)), dict(self.held))

    def told(self) -> Iterator[p.RunsQueued]:
        """Tell the whole queue."""
        yield from _queued(tuple(self.places))

    # --- what is wanted ----------------------------------------------------------------------------------------------

    def want(self, sweep: Sweep) -> tuple[str, ...]:
        """Put what a sweep lacks into the queue; return it, what waits or trains already included."""
        sweep_id = sweep.sweep_id  # a hash of all its seeds: not to be made for each of them
        self.sweeps[sweep_id] = sweep
        lacking = {spec.run_id: spec for spec in plan.missing(sweep, self._accuracies)}
        self._first_stages.pop(sweep_id, None)
        if lacking and sweep.finalists is not None and not plan.finalists(sweep, self._accuracies):
            self._first_stages[sweep_id] = set(lacking)
        new = []
        for run_id, spec in lacking.items():
            self._wanted_by.setdefault(run_id, sweep_id)
            why = self.held.get(run_id)
            if run_id not in self.places and run_id not in self.active and why not in ("cancelled", "failed"):
                place = p.Place(run_id, spec, sweep_id, sweep.title, paused=why == "paused")
                self.places.join(place)
                new.append(place)
        self._tell(_queued(new))
        return tuple(lacking)

    def supersede(self, sweep: Sweep) -> tuple[Sweep, ...]:
        """Drop sweeps that this one replaces by another choice of finalists, and what waits for them alone."""
        old = tuple(some for some in self.sweeps.values() if plan.is_other_choice(some, sweep))
        for some in old:
            del self.sweeps[some.sweep_id]
            self._first_stages.pop(some.sweep_id, None)
        if old:
            self._wanted_by = {}
            for some in (*self.sweeps.values(), sweep):
                runs = (spec.run_id for spec in plan.missing(some, self._accuracies))
                self._wanted_by = dict.fromkeys(runs, some.sweep_id) | self._wanted_by
            self._unqueue(place.run_id for place in tuple(self.places) if place.run_id not in self._wanted_by)
        return old

    def let_wait(self, sweep: Sweep) -> None:
        """Forget that runs of this sweep were cancelled or failed: they are asked for again."""
        refused = {run_id for run_id, why in self.held.items() if why in ("cancelled", "failed")}
        if refused:
            for spec in plan.missing(sweep, self._accuracies):
                if spec.run_id in refused:
                    self._release(spec.run_id)

    def open(self, data: p.DataSet) -> None:
        """Train on this data from now on."""
        self.data[data.fingerprint] = data
        self.places.refresh()

    def arrange(self, order: Order) -> None:
        """Bring the queue into a kept order; runs that it does not know stay behind."""
        self.places.arrange({run_id: rank for rank, run_id in enumerate(order.runs)})

    def hold(self, runs: Iterable[str], why: str) -> None:
        """Pause or cancel runs; those that workers have are theirs to stop."""
        chosen = [run_id for run_id in runs if run_id in self.active or run_id in self.places]
        self.held |= dict.fromkeys(chosen, why)
        if why == "paused":
            self._pause(chosen, paused=True)
        else:
            self._unqueue(chosen)

    def resume(self, runs: Iterable[str]) -> None:
        """Let held runs go on; all that are paused when none is named."""
        chosen = tuple(runs) or tuple(run_id for run_id, why in self.held.items() if why == "paused")
        for run_id in chosen:
            self._release(run_id)
        self._pause(chosen, paused=False)
        for sweep in list(self.sweeps.values()):
            self.want(sweep)

    def move(self, runs: Sequence[str], index: int) -> None:
        """Put waiting runs at a place in the queue, in their order."""
        index, moved = self.places.move(runs, index)
        if moved:
            self._publish(p.RunsUnqueued(runs=tuple(place.run_id for place in moved)))
            self._tell(_queued(moved, index))

    def take_in(self, result: p.RunResult) -> None:
        """Know a run that was finished elsewhere; it need not be trained here any more."""
        self._unqueue([result.run_id])
        self.fold(p.RunFinished(result=result))

    def forget(self, run_id: str) -> None:
        """Drop a run that was deleted."""
        self.results.pop(run_id, None)
        self._accuracies.pop(run_id, None)
        self._unqueue([run_id])
        self.held[run_id] = "cancelled"

    def _release(self, run_id: str) -> None:
        self.held.pop(run_id, None)
        self.setbacks.forget(run_id)
        self.reasons.pop(run_id, None)

    def _pause(self, runs: Sequence[str], *, paused: bool) -> None:
        if new := self.places.hold(runs, paused=paused):
            self._publish(p.RunsHeld(runs=new, paused=paused))

    def _unqueue(self, runs: Iterable[str]) -> None:
        if gone := self.places.leave(runs):
            self._publish(p.RunsUnqueued(runs=gone))

    def _tell(self, events: Iterable[p.AnyEvent]) -> None:
        for event in events:
            self._publish(event)

    # --- what workers take and give back ------------------------------------------------------------------------------

    def take(self, places: Iterable[p.Place]) -> None:
        """Give runs to a worker."""
        taken = {place.run_id: place.spec for place in places}
        self.active |= taken
        self._unqueue(taken)

    def let_go(self, run_id: str) -> None:
        """Take note that no worker has the run any more."""
        self.active.pop(run_id, None)

    def put_back(self, spec: RunSpec) -> None:
        """Put a run that was let go at the head, behind earlier seeds of its kind, if it is still wanted."""
        run_id = spec.run_id
        sweep, why = self.sweeps.get(self._wanted_by.get(run_id, "")), self.held.get(run_id)
        if sweep is not None and why not in ("cancelled", "failed"):
            place = p.Place(run_id, spec, sweep.sweep_id, sweep.title, paused=why == "paused")
            self._tell(_queued([place], self.places.put_back(place)))

    def set_back(
        self, spec: RunSpec, reason: str, lanes: int, *, out_of_memory: bool, is_leaving: bool
    ) -> p.RunFailed | p.RunInterrupted:
        """Put a run back that was let go without a result, or let it fail when that happens again and again.

        Args:
            lanes: runs that trained side by side.
            is_leaving: the host ends, which fails nothing.
        """
        again = self.setbacks.is_tried_again(spec.run_id, out_of_memory=out_of_memory) or is_leaving
        if out_of_memory:
            fewer = self.setbacks.ran_out(spec.configuration, lanes)
            beside = f", {fewer} at a time instead of {lanes}" if lanes > 1 else ""
            reason += f" It is tried once more{beside}." if again else " It was tried again in vain; free some memory."
        if not again:
            return p.RunFailed(run_id=spec.run_id, reason=reason, out_of_memory=out_of_memory)
        self.put_back(spec)
        return p.RunInterrupted(run_id=spec.run_id, reason=reason)

    def fold(self, event: p.AnyEvent) -> None:
        """Keep what clients that attach later have to be told."""
        match event:
            case p.RunStarted():
                for run_id, spec in zip(event.runs, event.specs, strict=True):
                    self.started[run_id] = msgspec.structs.replace(event, runs=(run_id,), specs=(spec,))
                    self.reasons.pop(run_id, None)
            case p.EpochEnded():
                for lane, run_id in enumerate(event.runs):
                    values = (event.loss[lane], event.accuracy[lane], event.test_loss[lane], event.test_accuracy[lane])
                    known = self.histories.get(run_id, p.History())
                    if known.epochs == event.epoch - 1:  # else a client asks for the journal's
                        self.histories[run_id] = p.extended(known, values, event.seconds)
            case p.RunFinished():
                self._finish(event.result)
            case p.RunFailed():
                self._end(event.run_id)
                self.held[event.run_id] = "failed"
                self.reasons[event.run_id] = event.reason
            case p.RunInterrupted() | p.RunPaused():
                self._end(event.run_id)
            case _:
                pass

    def _finish(self, result: p.RunResult) -> None:
        run_id = result.run_id
        self.results[run_id] = result
        self._accuracies[run_id] = result.test_accuracy
        self._end(run_id)
        self.held.pop(run_id, None)
        self._wanted_by.pop(run_id, None)
        for sweep_id, lacking in list(self._first_stages.items()):
            lacking.discard(run_id)
            if not lacking:  # the stage is complete, and the next one known
                self.want(self.sweeps[sweep_id])

    def _end(self, run_id: str) -> None:
        self.started.pop(run_id, None)
        self.histories.pop(run_id, None)


def _queued(places: Sequence[p.Place], index: int | None = None) -> Iterator[p.RunsQueued]:
    """Tell that these places stand behind each other, at the end or from an index on."""
    for start in range(0, len(places), PLACES_AT_ONCE):
        some = tuple(places[start : start + PLACES_AT_ONCE])
        yield p.RunsQueued(places=some, place=None if index is None else index + start)
