"""The queue: what is to be trained, in which order, what is held, and what is known of each run. Knows no worker."""

from collections.abc import Iterable
from itertools import takewhile

import msgspec

from engine import plan
from engine import protocol as p
from engine.forecast import Forecast, Measured
from engine.plan import Sweep
from engine.setbacks import Setbacks
from engine.spec import RunSpec
from engine.workspace import Order


class Queue:
    """What waits, and what workers took of it."""

    def __init__(self) -> None:
        self.results: dict[str, p.RunResult] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.data: dict[str, p.DataSet] = {}
        """Data sets that can be trained on, by fingerprint."""
        self.times = Measured(())
        self.held: dict[str, str] = {}
        """Runs that are wanted but not to be trained now: `paused`, `cancelled` or `failed`."""
        self.active: dict[str, RunSpec] = {}
        """The runs that workers have."""
        self.histories: dict[str, p.History] = {}
        """Of the active runs, for clients that attach meanwhile."""
        self.started: dict[str, p.RunStarted] = {}
        self.reasons: dict[str, str] = {}
        self.setbacks = Setbacks()
        self._places: list[p.Place] = []

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Nothing trains and nothing waits to."""
        return not self.active and all(place.paused for place in self._places)

    @property
    def order(self) -> Order:
        """What is kept of the queue beyond what follows from the sweeps."""
        return Order((*self.active, *(place.run_id for place in self._places)), self.held)

    def places(self) -> tuple[p.Place, ...]:
        """Return the queue, each run with its forecast."""
        times = self.times.medians
        forecasts = {name: Forecast(times, data.train_images, data.input_shape) for name, data in self.data.items()}

        def seconds(spec: RunSpec) -> float | None:
            forecast = forecasts.get(spec.data)
            return forecast.run_seconds(spec.configuration) if forecast else None

        return tuple(msgspec.structs.replace(place, forecast_seconds=seconds(place.spec)) for place in self._places)

    def accuracies(self) -> dict[str, float]:
        """Test accuracy of each finished run."""
        return {run_id: result.test_accuracy for run_id, result in self.results.items()}

    # --- what is wanted ----------------------------------------------------------------------------------------------

    def want(self, sweep: Sweep) -> tuple[RunSpec, ...]:
        """Put what a sweep lacks into the queue; return it, what waits or trains already included."""
        self.sweeps[sweep.sweep_id] = sweep
        lacking = plan.missing(sweep, self.accuracies())
        known = {place.run_id for place in self._places} | self.active.keys()
        for spec in lacking:
            if spec.run_id not in known and self.held.get(spec.run_id) not in ("cancelled", "failed"):
                known.add(spec.run_id)
                paused = self.held.get(spec.run_id) == "paused"
                self._places.append(p.Place(spec.run_id, spec, sweep.sweep_id, sweep.title, paused=paused))
        return lacking

    def supersede(self, sweep: Sweep) -> tuple[Sweep, ...]:
        """Drop sweeps that this one replaces by another choice of finalists, and what waits for them alone."""
        old = tuple(some for some in self.sweeps.values() if plan.is_other_choice(some, sweep))
        for some in old:
            del self.sweeps[some.sweep_id]
        if old:
            accuracies = self.accuracies()
            others = (*self.sweeps.values(), sweep)
            asked = {spec.run_id for some in others for spec in plan.asked(some, accuracies)}
            self._places = [place for place in self._places if place.run_id in asked]
        return old

    def let_wait(self, sweep: Sweep) -> None:
        """Forget that runs of this sweep were cancelled or failed: they are asked for again."""
        for spec in plan.asked(sweep, self.accuracies()):
            if self.held.get(spec.run_id) in ("cancelled", "failed"):
                self._release(spec.run_id)

    def arrange(self, order: Order) -> None:
        """Bring the queue into a kept order; runs that it does not know stay behind."""
        rank = {run_id: place for place, run_id in enumerate(order.runs)}
        self._places.sort(key=lambda place: rank.get(place.run_id, len(rank)))

    def hold(self, runs: Iterable[str], why: str) -> None:
        """Pause or cancel runs; those that workers have are theirs to stop."""
        chosen = set(runs)
        self.held |= dict.fromkeys(chosen & (self.active.keys() | {place.run_id for place in self._places}), why)
        if why == "paused":
            self._places = [
                msgspec.structs.replace(place, paused=place.paused or place.run_id in chosen) for place in self._places
            ]
        else:
            self._places = [place for place in self._places if place.run_id not in chosen]

    def resume(self, runs: Iterable[str]) -> None:
        """Let held runs go on; all that are paused when none is named."""
        chosen = set(runs) or {run_id for run_id, why in self.held.items() if why == "paused"}
        for run_id in chosen:
            self._release(run_id)
        self._places = [
            msgspec.structs.replace(place, paused=place.paused and place.run_id not in chosen) for place in self._places
        ]
        for sweep in list(self.sweeps.values()):
            self.want(sweep)

    def move(self, runs: Iterable[str], place: int) -> None:
        """Put waiting runs at a place in the queue, in their order."""
        chosen = list(runs)
        moved = [waiting for waiting in self._places if waiting.run_id in chosen]
        others = [waiting for waiting in self._places if waiting.run_id not in chosen]
        place = max(0, min(place, len(others)))
        self._places = [*others[:place], *moved, *others[place:]]

    def take_in(self, result: p.RunResult) -> None:
        """Know a run that was finished elsewhere; it need not be trained here any more."""
        self._places = [place for place in self._places if place.run_id != result.run_id]
        self.fold(p.RunFinished(result=result))

    def forget(self, run_id: str) -> None:
        """Drop a run that was deleted."""
        self.results.pop(run_id, None)
        self.held[run_id] = "cancelled"

    def _release(self, run_id: str) -> None:
        self.held.pop(run_id, None)
        self.setbacks.forget(run_id)
        self.reasons.pop(run_id, None)

    # --- what workers take and give back ------------------------------------------------------------------------------

    def ready(self) -> list[p.Place]:
        """Return what can be trained now, next first."""
        return [place for place in self._places if place.spec.data in self.data and not place.paused]

    def take(self, places: Iterable[p.Place]) -> None:
        """Give runs to a worker."""
        taken = {place.run_id: place.spec for place in places}
        self.active |= taken
        self._places = [place for place in self._places if place.run_id not in taken]

    def let_go(self, run_id: str) -> None:
        """Take note that no worker has the run any more."""
        self.active.pop(run_id, None)

    def put_back(self, spec: RunSpec) -> None:
        """Put a run that was let go at the head, behind earlier seeds of its kind, if it is still wanted."""
        why, accuracies = self.held.get(spec.run_id), self.accuracies()
        sweep = next((some for some in self.sweeps.values() if spec in plan.asked(some, accuracies)), None)
        if sweep is None or why in ("cancelled", "failed"):
            return
        alike = takewhile(lambda place: place.spec.configuration == spec.configuration, self._places)
        earlier = sum(place.spec.seed < spec.seed for place in alike)
        place = p.Place(spec.run_id, spec, sweep.sweep_id, sweep.title, paused=why == "paused")
        self._places.insert(earlier, place)

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
                self.results[event.result.run_id] = event.result
                self._end(event.result.run_id)
                self.held.pop(event.result.run_id, None)
                for sweep in list(self.sweeps.values()):  # a stage may be complete now, and the next one known
                    if sweep.finalists is not None:
                        self.want(sweep)
            case p.RunFailed():
                self._end(event.run_id)
                self.held[event.run_id] = "failed"
                self.reasons[event.run_id] = event.reason
            case p.RunInterrupted() | p.RunPaused():
                self._end(event.run_id)
            case _:
                pass

    def _end(self, run_id: str) -> None:
        self.started.pop(run_id, None)
        self.histories.pop(run_id, None)
